"""A GStreamer client: webrtcbin publishes by WHIP or watches by WHEP, and says
twice a second what was decoded, as the pages in the browsers do.

    gstreamer.py ID ROLE URL CODEC REPORT_URL [again]

ROLE is publish or watch, CODEC one of H264, H265, VP8. With "again" it calls again
when its connection fails, or takes 15 s. SIGTERM ends the session
by DELETE, which must be answered by 200.
"""

import array
import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC

ID, ROLE, URL, CODEC, REPORT_URL = sys.argv[1:6]
AGAIN = "again" in sys.argv[6:]

# As cameras do: a group of pictures a second or two long, no B frames, parameter
# sets with each keyframe.
SENDERS = {
    "H264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=24 bitrate=400 ! video/x-h264,profile=constrained-baseline "
            "! rtph264pay config-interval=-1 aggregate-mode=zero-latency pt=96",
    "H265": "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=24 bitrate=400 ! rtph265pay config-interval=-1 pt=96",
    "VP8": "vp8enc deadline=1 keyframe-max-dist=24 target-bitrate=400000 ! rtpvp8pay pt=96",
}

PUBLISHER = """
    webrtcbin name=peer bundle-policy=max-bundle
    videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=12/1 ! videoconvert ! {} ! peer.
    audiotestsrc is-live=true ! audioconvert ! audioresample ! opusenc ! rtpopuspay pt=97 ! peer.
"""

# A transceiver's do-nack is its transport's, and the last one decides: so all of
# them have it, to ask again for what is lost and to send it again.

# What a viewer says that it can take. H264 without parameters would be packetization
# mode 0, which nobody sends.
PARAMETERS = {"H264": ",packetization-mode=(string)1,profile-level-id=(string)42e01f"}
RECEIVED = {
    "video": "application/x-rtp,media=video,encoding-name={},clock-rate=90000,payload=96{}".format(CODEC, PARAMETERS.get(CODEC, "")),
    "audio": "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,encoding-params=(string)2,payload=97",
}

loop = GLib.MainLoop()
lock = threading.Lock()
seen = {"ID": ID, "State": "opening media", "Error": "", "Pixels": {"Looks": 0, "Moved": 0}, "Shown": {"Freezes": 0, "Frozen": 0, "Longest": 0}}
session = None
begun = time.monotonic()
last_picture = None
last_shown = None
FROZEN = 500  # a freeze is so many milliseconds without a new picture
jitterbuffers = {}  # by SSRC
kinds = {}  # Video or Audio, by SSRC


def say(**what):
    with lock:
        seen.update(what)


def fail(error):
    say(Error=str(error))


# --- what is decoded ----------------------------------------------------------

def picture(_sink, buffer, _pad):
    global last_picture, last_shown
    now = time.monotonic()
    stood = 1000 * (now - (last_shown or now))
    last_shown = now
    data = hash(buffer.extract_dup(0, buffer.get_size()))
    with lock:
        seen["Video"]["FramesDecoded"] += 1
        seen["Pixels"]["Looks"] += 1
        seen["Pixels"]["Moved"] += data != last_picture
        seen["Shown"]["Longest"] = max(seen["Shown"]["Longest"], int(stood))
        if stood > FROZEN:
            seen["Shown"]["Freezes"] += 1
            seen["Shown"]["Frozen"] += int(stood)
    last_picture = data


def sound(_sink, buffer, _pad):
    samples = array.array("h", buffer.extract_dup(0, buffer.get_size()))
    with lock:
        seen["Audio"]["SamplesReceived"] += len(samples)
        seen["Audio"]["Energy"] += sum(s * s for s in samples) / 2**30


def decoded(_decoder, pad):
    if pad.get_current_caps().get_structure(0).get_name().startswith("video"):
        chain, handler = "videoconvert ! fakesink name=sink sync=false signal-handoffs=true", picture
    else:
        chain, handler = ("audioconvert ! audioresample ! audio/x-raw,format=S16LE,channels=1,rate=48000 "
                          "! fakesink name=sink sync=false signal-handoffs=true"), sound
    part = Gst.parse_bin_from_description(chain, True)
    part.get_by_name("sink").connect("handoff", handler)
    pipeline.add(part)
    part.sync_state_with_parent()
    pad.link(part.get_static_pad("sink"))


def incoming(_peer, pad):
    if pad.direction != Gst.PadDirection.SRC:
        return
    caps = pad.get_current_caps().get_structure(0)
    kind, name = caps.get_string("media"), caps.get_string("encoding-name")
    if kind == "video":
        say(Video={"Codec": "video/" + name, "FramesDecoded": 0, "PacketsLost": 0, "Width": 320, "Height": 240})
    else:
        say(Audio={"Codec": "audio/" + name, "PacketsLost": 0, "SamplesReceived": 0, "ConcealedSamples": 0, "Energy": 0.0})
    kinds[caps.get_value("ssrc")] = kind.capitalize()
    decoder = Gst.ElementFactory.make("decodebin")
    decoder.connect("pad-added", decoded)
    pipeline.add(decoder)
    decoder.sync_state_with_parent()
    pad.link(decoder.get_static_pad("sink"))


def arriving(_rtpbin, jitterbuffer, _session, ssrc):
    jitterbuffers[ssrc] = jitterbuffer


def count_losses():
    """Asks the jitter buffers what never came, what was asked for, and what came of it."""
    for ssrc, kind in list(kinds.items()):
        stats = jitterbuffers[ssrc].props.stats
        lost, asked, again = (stats.get_value(name) for name in ("num-lost", "rtx-count", "rtx-success-count"))
        with lock:
            seen[kind].update(PacketsLost=lost, NackCount=asked, Retransmitted=again)


# --- WHIP and WHEP ------------------------------------------------------------

def exchange(offer):
    """Posts the offer; a viewer who comes before the publisher waits."""
    request = urllib.request.Request(URL, offer.encode(), {"Content-Type": "application/sdp"}, method="POST")
    while True:
        try:
            with urllib.request.urlopen(request) as answer:
                return urllib.parse.urljoin(URL, answer.headers["Location"]), answer.read()
        except urllib.error.HTTPError as refusal:
            if refusal.code != 409 or ROLE != "watch":
                raise RuntimeError("%d %s\noffer:\n%s" % (refusal.code, refusal.read().decode(), offer)) from None
            time.sleep(int(refusal.headers["Retry-After"]))


def connect():
    global session
    try:
        offer = peer.props.local_description.sdp.as_text()
        session, body = exchange(offer)
        result, answer = GstSdp.SDPMessage.new()
        if result != GstSdp.SDPResult.OK or GstSdp.sdp_message_parse_buffer(body, answer) != GstSdp.SDPResult.OK:
            raise RuntimeError("GStreamer cannot read the answer:\n%s" % body.decode())
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, answer)
        peer.emit("set-remote-description", description, Gst.Promise.new())
    except Exception as error:
        fail(error)


def offered(promise):
    reply = promise.get_reply()  # owns the offer
    peer.emit("set-local-description", reply.get_value("offer"), Gst.Promise.new())


def gathered(_peer, _property):
    if peer.props.ice_gathering_state == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
        say(State="posting")
        threading.Thread(target=connect, daemon=True).start()


# --- telling ------------------------------------------------------------------

def report():
    # Never ask GStreamer under the lock: it calls back under locks of its own.
    if session:
        say(State=peer.props.connection_state.value_nick)
    if AGAIN and (seen["State"] == "failed" or seen["State"] == "connecting" and time.monotonic() > begun + 15):
        os.execv(sys.executable, [sys.executable, *sys.argv])
    count_losses()
    with lock:
        body = json.dumps(seen).encode()
        seen["Shown"]["Longest"] = 0  # since the last report
    urllib.request.urlopen(urllib.request.Request(REPORT_URL, body, method="POST")).close()
    return GLib.SOURCE_CONTINUE


def complain(_bus, message):
    fail(message.parse_error())


def hangup():
    if session:
        with urllib.request.urlopen(urllib.request.Request(session, method="DELETE")) as answer:
            if answer.status != 200:
                sys.exit("DELETE: %d" % answer.status)
    loop.quit()
    return GLib.SOURCE_REMOVE


Gst.init(None)
if ROLE == "publish":
    pipeline = Gst.parse_launch(PUBLISHER.format(SENDERS[CODEC]))
    peer = pipeline.get_by_name("peer")
    for index in range(2):
        transceiver = peer.emit("get-transceiver", index)
        transceiver.props.direction = GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY
        transceiver.props.do_nack = True
else:
    pipeline = Gst.Pipeline()
    peer = Gst.ElementFactory.make("webrtcbin")
    peer.props.bundle_policy = GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE
    pipeline.add(peer)
    for kind in ("video", "audio"):
        transceiver = peer.emit("add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, Gst.Caps.from_string(RECEIVED[kind]))
        transceiver.props.do_nack = True
    peer.connect("pad-added", incoming)
    peer.get_by_name("rtpbin").connect("new-jitterbuffer", arriving)
peer.connect("on-negotiation-needed", lambda _: peer.emit("create-offer", None, Gst.Promise.new_with_change_func(offered)))
peer.connect("notify::ice-gathering-state", gathered)
bus = pipeline.get_bus()
bus.add_signal_watch()
bus.connect("message::error", complain)
GLib.unix_signal_add(GLib.PRIORITY_HIGH, signal.SIGTERM, hangup)
GLib.timeout_add(500, report)
pipeline.set_state(Gst.State.PLAYING)
loop.run()
pipeline.set_state(Gst.State.NULL)
