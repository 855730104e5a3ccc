package sdp

import "net/netip"

type section struct{}
type format struct{}
type Offer struct{}
type Local struct {
	Ufrag, Pwd  string
	Fingerprint string
	Candidates  []Candidate
	SessionID   uint64
}
type Candidate struct {
	Addr     netip.AddrPort
	Priority uint32
}

func Parse(body []byte) (*Offer, error)                       { return nil, nil }
func (o *Offer) Publish() (*Selection, error)                 { return nil, nil }
func (o *Offer) Subscribe(tracks []Track) (*Selection, error) { return nil, nil }
func (s *Selection) Answer(l Local) []byte                    { return nil }
func HostCandidates(addrs []netip.AddrPort) []Candidate       { return nil }
func (f Format) Name() string                                 { return "" }
func (f Format) String() string                               { return f.Name() }
