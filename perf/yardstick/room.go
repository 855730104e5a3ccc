package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// peer is a publisher or a viewer.
type peer struct {
	id   string
	key  []byte // master key; the master salt is zero
	aead cipher.AEAD
	salt [12]byte
	to   unix.RawSockaddrInet4
}

// room is who is there. The forwarder reads it without a lock.
type room struct {
	media netip.AddrPort

	mu        sync.Mutex // held by writers
	publisher atomic.Pointer[peer]
	viewers   atomic.Pointer[[]*peer]
}

func newRoom(media netip.AddrPort) *room {
	r := &room{media: media}
	r.viewers.Store(&[]*peer{})
	return r
}

// newPeer derives the session key and salt (RFC 3711 section 4.3.1 with the master salt all zero).
func newPeer(addr netip.AddrPort, key []byte) (*peer, error) {
	master, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	const keyLabel, saltLabel = 0, 2
	session, salt := derive(master, keyLabel), derive(master, saltLabel)
	block, err := aes.NewCipher(session[:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	// The port in a sockaddr is in network byte order.
	to := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: addr.Addr().As4(), Port: addr.Port()<<8 | addr.Port()>>8}
	return &peer{id: strings.ReplaceAll(addr.String(), ":", "-"), key: key, aead: aead, salt: [12]byte(salt[:12]), to: to}, nil
}

func derive(master cipher.Block, label byte) (out [aes.BlockSize]byte) {
	in := [aes.BlockSize]byte{7: label}
	master.Encrypt(out[:], in[:])
	return out
}

func newKey() []byte {
	key := make([]byte, 16)
	rand.Read(key)
	return key
}

// handler lets peers in and out. When the forwarder does not seal, viewers get the publisher's key.
func (r *room) handler(floor bool) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /whip/{stream}", func(w http.ResponseWriter, q *http.Request) {
		r.join(w, q, newKey(), func(p *peer) { r.publisher.Store(p) })
	})
	mux.HandleFunc("POST /whep/{stream}", func(w http.ResponseWriter, q *http.Request) {
		publisher := r.publisher.Load()
		if publisher == nil {
			http.Error(w, "nobody publishes", http.StatusNotFound)
			return
		}
		key := publisher.key
		if !floor {
			key = newKey()
		}
		r.join(w, q, key, func(p *peer) { r.replace(append(slices.Clone(*r.viewers.Load()), p)) })
	})
	mux.HandleFunc("DELETE /peer/{id}", func(_ http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		left := slices.DeleteFunc(slices.Clone(*r.viewers.Load()), func(p *peer) bool { return p.id == q.PathValue("id") })
		r.replace(left)
	})
	return mux
}

func (r *room) replace(viewers []*peer) { r.viewers.Store(&viewers) }

func (r *room) join(w http.ResponseWriter, q *http.Request, key []byte, add func(*peer)) {
	text, err := io.ReadAll(io.LimitReader(q.Body, 64))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	addr, err := netip.ParseAddrPort(string(text))
	if err != nil || !addr.Addr().Is4() {
		http.Error(w, "want your IPv4 address and port", http.StatusBadRequest)
		return
	}
	p, err := newPeer(addr, key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	r.mu.Lock()
	add(p)
	r.mu.Unlock()
	w.Header().Set("Location", "/peer/"+p.id)
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, "%s %s", r.media, hex.EncodeToString(key))
}
