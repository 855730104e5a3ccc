package controlplane

// graveyard remembers why the last sessions ended, for peers that come to ask.
type graveyard struct {
	reasons map[string]string // by token
	tokens  [1024]string      // a ring, oldest next to be forgotten
	next    int
}

func (g *graveyard) add(token, why string) {
	if g.reasons == nil {
		g.reasons = map[string]string{}
	}
	delete(g.reasons, g.tokens[g.next])
	g.tokens[g.next] = token
	g.next = (g.next + 1) % len(g.tokens)
	g.reasons[token] = why
}

// why returns the reason, "" when it is not remembered.
func (g *graveyard) why(token string) string { return g.reasons[token] }
