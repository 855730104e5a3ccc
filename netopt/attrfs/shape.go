package attrfs

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"sluice/netopt/attrsock"
)

// shape is which files and directories there are. It is known without asking the
// appliance, so that looking around never waits for it.
type shape struct {
	mu    sync.RWMutex
	files map[string]uint32              // permission bits, by path
	dirs  map[string]map[string]struct{} // names in it, by path; the root is ""
}

// reset makes the shape what the entries of a whole tree say.
func (s *shape) reset(entries []attrsock.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files, s.dirs = map[string]uint32{}, map[string]map[string]struct{}{"": {}}
	s.add(entries)
}

// grow adds the entries of an object.
func (s *shape) grow(entries []attrsock.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(entries)
}

func (s *shape) add(entries []attrsock.Entry) {
	for _, e := range entries {
		mode, err := strconv.ParseUint(e.Mode, 8, 9)
		if err != nil {
			continue // a later version's
		}
		s.files[e.Path] = uint32(mode)
		for path := e.Path; path != ""; {
			dir, name := split(path)
			if s.dirs[dir] == nil {
				s.dirs[dir] = map[string]struct{}{}
			}
			s.dirs[dir][name] = struct{}{}
			path = dir
		}
	}
}

// remove takes away an object.
func (s *shape) remove(object string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.dirs[object] {
		delete(s.files, object+"/"+name)
	}
	delete(s.dirs, object)
	dir, name := split(object)
	delete(s.dirs[dir], name)
}

// file returns the permission bits of the file at path.
func (s *shape) file(path string) (mode uint32, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	mode, ok = s.files[path]
	return mode, ok
}

// names returns the names in the directory at path, sorted, and whether it is
// there.
func (s *shape) names(path string) ([]string, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	in, ok := s.dirs[path]
	var names []string
	for name := range in {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, ok
}

// split returns the directory and the name of a path.
func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// join is the path of a name in a directory.
func join(dir, name string) string { return strings.TrimPrefix(dir+"/"+name, "/") }
