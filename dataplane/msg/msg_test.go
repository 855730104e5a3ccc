package msg

import (
	"fmt"
	"math"
	"reflect"
	"testing"
)

func TestSessionID(t *testing.T) {
	seen := map[SessionID]string{}
	for _, shard := range []int{0, 1, 63, 255} {
		for _, serial := range []uint64{0, 1, 1<<32 + 7, 1<<56 - 1} {
			id := NewSessionID(shard, serial)
			want := fmt.Sprintf("%d.%d", shard, serial)
			if id.Shard() != shard || id.String() != want {
				t.Errorf("%s: shard %d, prints as %s", want, id.Shard(), id)
			}
			if other, twice := seen[id]; twice {
				t.Errorf("%s and %s have one id", other, want)
			}
			seen[id] = want
		}
	}
	// Nobody makes so many; still no session may seem to be another shard's.
	if id := NewSessionID(3, math.MaxUint64); id.Shard() != 3 {
		t.Errorf("serial overflows into the shard: %s", id)
	}
}

func TestNames(t *testing.T) {
	if Audio.String() != "audio" || Video.String() != "video" {
		t.Errorf("%v, %v", Audio, Video)
	}
	seen := map[string]bool{}
	for r := ClosedNoCheck; r <= ClosedNoConsent; r++ {
		if s := r.String(); s == "" || seen[s] {
			t.Errorf("reason %d: %q is empty or not its own", r, s)
		}
		seen[r.String()] = true
	}
}

// Messages are values: nothing in them, slices aside, which change hands, lets
// two threads reach the same memory.
func TestMessagesShareNothing(t *testing.T) {
	for _, m := range []any{
		AddSession{}, InstallKeys{}, RemoveSession{}, RestartICE{}, SendDatagram{}, AddRoute{}, RemoveRoute{}, Inject{},
		PairSelected{}, Punt{}, SessionClosed{},
	} {
		_, command := m.(Command)
		_, event := m.(Event)
		if command == event {
			t.Errorf("%T is not either a command or an event", m)
		}
		if what := shared(reflect.TypeOf(m)); what != "" {
			t.Errorf("%T holds %s", m, what)
		}
	}
}

// shared names the first part of a type that could be shared, "" for none.
func shared(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Chan, reflect.Func, reflect.Interface, reflect.UnsafePointer:
		return t.String()
	case reflect.Slice, reflect.Array:
		return shared(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if what := shared(t.Field(i).Type); what != "" {
				return t.Field(i).Name + " " + what
			}
		}
	}
	return ""
}
