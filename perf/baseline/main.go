// Command baseline is the forwarder that one would write by hand with pion/webrtc: WHIP in, WHEP out, default codecs, default
// interceptors, a TrackLocalStaticRTP for each track, one UDP socket for each client. It is what Sluice is measured against, so it is
// written to be fast within those means: only the address that it listens on is gathered, and multicast DNS is off.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"

	"github.com/google/uuid"
	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// stream is one publisher and the tracks that its viewers get.
type stream struct {
	publisher *webrtc.PeerConnection
	mu        sync.Mutex
	expected  int                                    // tracks, by the offer
	tracks    map[string]*webrtc.TrackLocalStaticRTP // by kind
	video     webrtc.SSRC                            // of the publisher
}

type server struct {
	api     *webrtc.API
	mu      sync.Mutex
	streams map[string]*stream
	peers   map[string]*webrtc.PeerConnection // by session id
}

func main() {
	addr := flag.String("http", "127.0.0.1:8081", "`address` to listen on")
	flag.Parse()
	s := &server{api: newAPI(*addr), streams: map[string]*stream{}, peers: map[string]*webrtc.PeerConnection{}}
	http.HandleFunc("POST /whip/{stream}", s.whip)
	http.HandleFunc("POST /whep/{stream}", s.whep)
	http.HandleFunc("DELETE /session/{id}", s.leave)
	log.Fatal(http.ListenAndServe(*addr, nil))
}

// newAPI gathers loopback too, and nothing but the listening address when that is a definite one.
func newAPI(addr string) *webrtc.API {
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	host, _, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
		settings.SetIPFilter(ip.Equal)
	}
	return webrtc.NewAPI(webrtc.WithSettingEngine(settings))
}

func (s *server) whip(w http.ResponseWriter, r *http.Request) {
	pc, err := s.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	st := &stream{publisher: pc, tracks: map[string]*webrtc.TrackLocalStaticRTP{}}
	pc.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { st.forward(remote) })
	s.answer(w, r, pc, func() {
		st.mu.Lock()
		st.expected = len(pc.GetTransceivers())
		st.mu.Unlock()
		s.mu.Lock()
		s.streams[r.PathValue("stream")] = st
		s.mu.Unlock()
	})
}

// forward writes every packet of a track to all viewers, in the goroutine that reads it.
func (st *stream) forward(remote *webrtc.TrackRemote) {
	kind := remote.Kind().String()
	local, err := webrtc.NewTrackLocalStaticRTP(remote.Codec().RTPCodecCapability, kind, "stream")
	if err != nil {
		log.Print(err)
		return
	}
	st.mu.Lock()
	st.tracks[kind] = local
	if remote.Kind() == webrtc.RTPCodecTypeVideo {
		st.video = remote.SSRC()
	}
	st.mu.Unlock()
	for {
		packet, _, err := remote.ReadRTP()
		if err != nil {
			return
		}
		local.WriteRTP(packet)
	}
}

func (s *server) whep(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	st := s.streams[r.PathValue("stream")]
	s.mu.Unlock()
	if st == nil || !st.ready() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "nobody publishes this stream yet", http.StatusConflict)
		return
	}
	pc, err := s.api.NewPeerConnection(webrtc.Configuration{})
	if err == nil {
		err = st.addTo(pc)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			st.askKeyframe()
		case webrtc.PeerConnectionStateFailed:
			pc.Close()
		}
	})
	s.answer(w, r, pc, func() {})
}

func (st *stream) ready() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.tracks) == st.expected
}

func (st *stream) addTo(pc *webrtc.PeerConnection) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, track := range st.tracks {
		sender, err := pc.AddTrack(track)
		if err != nil {
			return err
		}
		go st.readFeedback(sender)
	}
	return nil
}

// readFeedback keeps the interceptors of a sender supplied with RTCP and passes keyframe requests on.
func (st *stream) readFeedback(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range packets {
			switch p.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				st.askKeyframe()
			}
		}
	}
}

func (st *stream) askKeyframe() {
	st.mu.Lock()
	ssrc := uint32(st.video)
	st.mu.Unlock()
	st.publisher.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}})
}

// answer completes the exchange of descriptions with all candidates in the answer, and calls agreed before the peer knows of it.
func (s *server) answer(w http.ResponseWriter, r *http.Request, pc *webrtc.PeerConnection, agreed func()) {
	description, err := negotiate(r.Body, pc)
	if err != nil {
		pc.Close()
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	agreed()
	id := uuid.NewString()
	s.mu.Lock()
	s.peers[id] = pc
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/sdp")
	w.Header().Set("Location", "/session/"+id)
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, description)
}

func negotiate(body io.Reader, pc *webrtc.PeerConnection) (string, error) {
	offer, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(offer)}); err != nil {
		return "", err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-gathered
	return pc.LocalDescription().SDP, nil
}

func (s *server) leave(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	pc := s.peers[r.PathValue("id")]
	delete(s.peers, r.PathValue("id"))
	s.mu.Unlock()
	if pc == nil {
		http.NotFound(w, r)
		return
	}
	pc.Close()
}
