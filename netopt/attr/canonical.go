package attr

// Canonical returns text as Get would show it after a Set of it to path, without
// setting it, also where only its owner or a new start can. The error is that of
// Set: ENOENT, EINVAL, ERANGE, or EACCES for what can be read only.
func (t *Tree) Canonical(path, text string) (string, error) {
	s, err := t.find(path)
	if err != nil {
		return "", err
	}
	if s.decl.Mode == RO {
		return "", fail(EACCES, path, "can be read only")
	}
	v, wrong := s.decl.parse(text)
	if wrong != nil {
		return "", wrong
	}
	return v.text, nil
}
