package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/pion/stun/v4"
)

// CheckInterval is how often a caller must call Check after Dial: RFC 7675 section 5.1 wants a check about every 5 s.
const CheckInterval = 4 * time.Second

const (
	firstCheckInterval = 20 * time.Millisecond
	prflxPriority      = 1853824767 // of a peer-reflexive candidate of ours (RFC 8445 section 5.1.2)
)

// agent is the ICE state of a controlling full agent with one pair, which it nominates with every check.
type agent struct {
	localUfrag, localPwd   string
	remoteUfrag, remotePwd string
	tieBreaker             [8]byte
	pending                [stun.TransactionIDSize]byte
	answered               bool // a check of ours was answered with an authentic success response
}

// Check sends an authenticated binding request with USE-CANDIDATE; it also renews consent (RFC 7675). A bare
// connection has no need of it.
func (c *Conn) Check() error {
	if c.bare {
		return nil
	}
	a := &c.agent
	if a.tieBreaker == [8]byte{} {
		rand.Read(a.tieBreaker[:])
	}
	var priority [4]byte
	binary.BigEndian.PutUint32(priority[:], prflxPriority)
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest,
		stun.NewUsername(a.remoteUfrag+":"+a.localUfrag),
		stun.RawAttribute{Type: stun.AttrICEControlling, Value: a.tieBreaker[:]},
		stun.RawAttribute{Type: stun.AttrPriority, Value: priority[:]},
		stun.RawAttribute{Type: stun.AttrUseCandidate},
		stun.NewShortTermIntegrity(a.remotePwd), stun.Fingerprint)
	if err != nil {
		return err
	}
	a.pending = m.TransactionID
	return c.Send(m.Raw)
}

// HandleSTUN answers the server's checks and takes its answers to ours. Messages that are not authentic are passed over.
func (c *Conn) HandleSTUN(p []byte) error {
	m := &stun.Message{Raw: bytes.Clone(p)}
	if err := m.Decode(); err != nil {
		return nil
	}
	switch m.Type {
	case stun.BindingRequest:
		return c.answer(m)
	case stun.BindingSuccess:
		if m.TransactionID == c.agent.pending && stun.NewShortTermIntegrity(c.agent.remotePwd).Check(m) == nil {
			c.agent.answered = true
		}
	}
	return nil
}

func (c *Conn) answer(request *stun.Message) error {
	key := stun.NewShortTermIntegrity(c.agent.localPwd)
	var user stun.Username
	if user.GetFrom(request) != nil || user.String() != c.agent.localUfrag+":"+c.agent.remoteUfrag || key.Check(request) != nil {
		return nil
	}
	mapped := stun.XORMappedAddress{IP: c.Remote.Addr().AsSlice(), Port: int(c.Remote.Port())}
	m, err := stun.Build(request, stun.BindingSuccess, &mapped, key, stun.Fingerprint)
	if err != nil {
		return err
	}
	return c.Send(m.Raw)
}

// nominate repeats the check until the server answers it.
func (c *Conn) nominate(ctx context.Context, s *setupConn) error {
	buf := make([]byte, maxDatagram)
	for !c.agent.answered {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("ICE: no answer from %s: %w", c.Remote, err)
		}
		if err := c.Check(); err != nil {
			return fmt.Errorf("ICE check to %s: %w", c.Remote, err)
		}
		if err := c.awaitAnswer(s, buf); err != nil {
			return err
		}
	}
	return nil
}

func (c *Conn) awaitAnswer(s *setupConn, buf []byte) error {
	s.file.SetReadDeadline(time.Now().Add(firstCheckInterval))
	defer s.file.SetReadDeadline(time.Time{})
	for !c.agent.answered {
		d, err := s.read(buf)
		if isTimeout(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("ICE: %w", err)
		}
		if !IsSTUN(d.Data) {
			continue
		}
		if err := c.HandleSTUN(d.Data); err != nil {
			return fmt.Errorf("ICE: %w", err)
		}
	}
	return nil
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
