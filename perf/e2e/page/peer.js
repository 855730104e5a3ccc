// One publisher (WHIP) or viewer (WHEP), written by hand as a stranger to the
// server would write it. Parameters in the URL:
//   id      name in reports
//   role    publish | watch
//   url     the WHIP or WHEP endpoint
//   kinds   av | a | v
//   codec   video mime type, such as video/VP8, and no other; optional
//   source  canvas | camera (publishers)
'use strict';

const params = Object.fromEntries(new URLSearchParams(location.search));
const wants = kind => params.kinds.includes(kind[0]);
// Few, so that two busy cores can encode and decode several streams at once.
const framesPerSecond = 12;
const kinds = ['audio', 'video'].filter(wants);
const pc = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
const pixels = {Looks: 0, Moved: 0};
let stage = 'opening media';
let retryAfter = null;
let failure = '';
let session = null;
let countered = false; // the answer was 406 and an offer of the server's
let posted = 0; // when the offer went
let firstFrame = 0; // milliseconds from then to the first picture
const frozen = 500; // a freeze is so many milliseconds without a new picture
const shown = {Freezes: 0, Frozen: 0, Longest: 0};

const sleep = ms => new Promise(done => setTimeout(done, ms));

// --- sources -----------------------------------------------------------------

// A picture that differs in every frame, drawn by a timer: requestAnimationFrame
// may stand still where nobody looks.
function canvasTrack() {
  const canvas = document.createElement('canvas');
  canvas.width = 320;
  canvas.height = 240;
  document.body.append(canvas);
  const pen = canvas.getContext('2d');
  let frame = 0;
  setInterval(() => {
    pen.fillStyle = `hsl(${frame * 3 % 360} 70% 40%)`;
    pen.fillRect(0, 0, 320, 240);
    pen.fillStyle = 'white';
    pen.fillRect(frame * 5 % 320, 150, 60, 60);
    pen.font = '64px monospace';
    pen.fillText(String(frame++), 20, 100);
  }, 1000 / framesPerSecond);
  return canvas.captureStream(framesPerSecond).getVideoTracks()[0];
}

// What the browser's fake devices show and play. Sound always comes from there:
// an AudioContext stands still in a Firefox that has no sound card.
async function fakeTracks(video) {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: wants('audio'),
    video: video && {width: 320, height: 240, frameRate: framesPerSecond},
  });
  return stream.getTracks();
}

async function sourceTracks() {
  if (params.source === 'camera') return fakeTracks(wants('video'));
  const tracks = wants('audio') ? await fakeTracks(false) : [];
  return wants('video') ? [...tracks, canvasTrack()] : tracks;
}

// --- WHIP and WHEP -----------------------------------------------------------

function onlyCodec(transceiver) {
  const helpers = ['video/rtx', 'video/red', 'video/ulpfec'];
  const codecs = RTCRtpReceiver.getCapabilities('video').codecs
    .filter(codec => codec.mimeType === params.codec || helpers.includes(codec.mimeType));
  transceiver.setCodecPreferences(codecs);
}

async function addPublisherMedia() {
  const tracks = await sourceTracks();
  const stream = new MediaStream(tracks);
  for (const track of tracks) {
    const transceiver = pc.addTransceiver(track, {direction: 'sendonly', streams: [stream]});
    if (track.kind === 'video' && params.codec) onlyCodec(transceiver);
  }
}

function addViewerMedia() {
  const video = document.createElement('video');
  video.autoplay = true;
  video.playsInline = true;
  video.srcObject = new MediaStream();
  document.body.append(video);
  pc.ontrack = event => video.srcObject.addTrack(event.track);
  watchShown(video);
  for (const kind of kinds) {
    const transceiver = pc.addTransceiver(kind, {direction: 'recvonly'});
    if (kind === 'video' && params.codec) onlyCodec(transceiver);
  }
  watchPixels(video);
}

// Sets the offer or answer that is due, and returns it with all candidates.
async function describe() {
  stage = 'gathering';
  await pc.setLocalDescription();
  while (pc.iceGatheringState !== 'complete') {
    await new Promise(done => pc.addEventListener('icegatheringstatechange', done, {once: true}));
  }
  return pc.localDescription.sdp;
}

// Posts the offer; a viewer who comes before the publisher waits as long as the
// server says.
async function exchange(offer) {
  stage = 'posting';
  posted = performance.now();
  for (;;) {
    const answer = await fetch(params.url, {
      method: 'POST',
      headers: {'Content-Type': 'application/sdp'},
      body: offer,
    });
    const text = await answer.text();
    countered = answer.status === 406 && params.role === 'watch';
    if (answer.status === 201 || countered) return {answer, text};
    if (answer.status !== 409 || params.role !== 'watch') {
      throw new Error(`POST ${params.url}: ${answer.status} ${text}\noffer:\n${offer}`);
    }
    stage = 'waiting';
    retryAfter = answer.headers.get('Retry-After');
    await sleep(1000 * (Number(retryAfter) || 1));
  }
}

// Answers the offer that came with 406 (draft-ietf-wish-whep).
async function answerCounterOffer(offer) {
  await pc.setLocalDescription({type: 'rollback'});
  await pc.setRemoteDescription({type: 'offer', sdp: offer});
  const body = await describe();
  const answer = await fetch(session, {method: 'PATCH', headers: {'Content-Type': 'application/sdp'}, body});
  if (!answer.ok) throw new Error(`PATCH ${session}: ${answer.status} ${await answer.text()}\nanswer:\n${body}\noffer:\n${offer}`);
  stage = 'answered';
}

async function connect() {
  if (params.role === 'publish') await addPublisherMedia();
  else addViewerMedia();
  const offer = await describe();
  const {answer, text} = await exchange(offer);
  const location = answer.headers.get('Location');
  if (!location) throw new Error(`${answer.status} shows no Location to a page of another origin`);
  session = new URL(location, answer.url);
  if (countered) return answerCounterOffer(text);
  stage = 'answered';
  await pc.setRemoteDescription({type: 'answer', sdp: text}).catch(error => {
    throw new Error(`${error}\nanswer:\n${text}\noffer:\n${offer}`);
  });
}

// Called by the stage.
async function hangup() {
  try {
    const answer = await fetch(session, {method: 'DELETE'});
    if (answer.status !== 200) throw new Error(`DELETE ${session}: ${answer.status} ${await answer.text()}`);
    stage = 'ended';
  } catch (error) {
    fail(error);
  }
  pc.close();
  await sendReport();
}

// --- what is seen ------------------------------------------------------------

// Notes the first picture, and how long each stood until the next.
function watchShown(video) {
  let before = 0;
  const picture = now => {
    if (before === 0) firstFrame = Math.ceil(performance.now() - posted);
    else note(now - before);
    before = now;
    video.requestVideoFrameCallback(picture);
  };
  const note = stood => {
    shown.Longest = Math.max(shown.Longest, Math.round(stood));
    if (stood <= frozen) return;
    shown.Freezes++;
    shown.Frozen += Math.round(stood);
  };
  video.requestVideoFrameCallback?.(picture);
}

function watchPixels(video) {
  const canvas = document.createElement('canvas');
  canvas.width = 32;
  canvas.height = 24;
  const pen = canvas.getContext('2d', {willReadFrequently: true});
  let before = null;
  setInterval(() => {
    if (video.readyState < 2) return;
    pen.drawImage(video, 0, 0, 32, 24);
    const now = pen.getImageData(0, 0, 32, 24).data;
    if (before && meanDifference(before, now) > 0.5) pixels.Moved++;
    pixels.Looks++;
    before = now;
  }, 250);
}

function meanDifference(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += Math.abs(a[i] - b[i]);
  return sum / a.length;
}

function videoStats(stats, inbound) {
  return {
    Codec: stats.get(inbound.codecId)?.mimeType,
    FramesDecoded: inbound.framesDecoded,
    FramesPerSecond: inbound.framesPerSecond,
    FreezeCount: inbound.freezeCount,
    FreezesDuration: inbound.totalFreezesDuration,
    PacketsLost: inbound.packetsLost,
    NackCount: inbound.nackCount,
    PLICount: inbound.pliCount,
    Retransmitted: inbound.retransmittedPacketsReceived,
    Width: inbound.frameWidth,
    Height: inbound.frameHeight,
  };
}

function audioStats(stats, inbound) {
  return {
    Codec: stats.get(inbound.codecId)?.mimeType,
    PacketsReceived: inbound.packetsReceived,
    PacketsLost: inbound.packetsLost,
    SamplesReceived: inbound.totalSamplesReceived,
    ConcealedSamples: inbound.concealedSamples,
    Energy: inbound.totalAudioEnergy,
  };
}

function remoteCandidate(stats) {
  const pair = [...stats.values()].find(s => s.type === 'candidate-pair' && s.nominated && s.state === 'succeeded');
  return pair && stats.get(pair.remoteCandidateId);
}

// What a publisher has sent, in sum, and of its video how it fares.
function sentStats(sent) {
  if (!sent.length) return undefined;
  const sum = key => sent.reduce((total, s) => total + (s[key] || 0), 0);
  const video = sent.find(s => s.kind === 'video');
  return {
    FramesEncoded: sum('framesEncoded'),
    PacketsSent: sum('packetsSent'),
    Retransmitted: sum('retransmittedPacketsSent'),
    NackCount: sum('nackCount'),
    PLICount: sum('pliCount'),
    KeyFrames: sum('keyFramesEncoded'),
    TargetBitrate: video?.targetBitrate,
    FramesPerSecond: video?.framesPerSecond,
    Limitation: video?.qualityLimitationReason,
    Width: video?.frameWidth,
  };
}

async function makeReport() {
  const stats = await pc.getStats();
  const all = [...stats.values()];
  const received = kind => all.find(s => s.type === 'inbound-rtp' && s.kind === kind);
  const sent = all.filter(s => s.type === 'outbound-rtp');
  const video = received('video');
  const audio = received('audio');
  const remote = remoteCandidate(stats);
  return {
    ID: params.id,
    State: stage === 'answered' ? pc.connectionState : stage,
    DTLS: [...pc.getSenders(), ...pc.getReceivers()].map(end => end.transport?.state).find(Boolean),
    Error: failure,
    RetryAfter: retryAfter,
    Countered: countered,
    Remote: remote?.address,
    Protocol: remote?.protocol,
    FirstFrame: firstFrame,
    Video: video && videoStats(stats, video),
    Audio: audio && audioStats(stats, audio),
    Sent: sentStats(sent),
    Pixels: pixels,
    Shown: takeShown(),
  };
}

// The longest since the last report, the others since the first picture.
function takeShown() {
  const now = {...shown};
  shown.Longest = 0;
  return now;
}

async function sendReport() {
  const body = JSON.stringify(await makeReport());
  await fetch('/report', {method: 'POST', body});
}

function fail(error) {
  failure = `${error}\n${error.stack || ''}`;
}

async function keepReporting() {
  while (stage !== 'ended') {
    await sendReport();
    await sleep(500);
  }
}

connect().catch(fail);
keepReporting();
