package registry

// Refusal is why the registry does not take a session. Its text is for the
// person who asked, and says what to do.
type Refusal string

func (r Refusal) Error() string { return string(r) }

// The refusals.
const (
	ErrPublished Refusal = "the stream has a publisher already; stop that one or choose another name"
	ErrNotLive   Refusal = "the stream has no publisher yet; try again when it has one"
	ErrFull      Refusal = "the limit of sessions is reached (attribute limits/sessions); try again later"
	ErrStreams   Refusal = "the limit of streams is reached (attribute limits/streams); try again later"
	ErrPending   Refusal = "too many sessions of your address or network are still connecting (attribute limits/pending_sessions); try again later"
)
