package e2e

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

var binaryFlag = flag.String("sluice", "", "absolute path of a sluice binary to test in place of one built from the tree")

// lab is what all tests of a run share.
type lab struct {
	dir      string // logs, profiles and the binary
	binary   string
	servers  *netns // 10.77.0.1, fd00:77::1
	clients  *netns // 10.77.0.2, fd00:77::2
	director *director
	chromium *browser
	firefox  *browser
}

var (
	theLab   *lab
	labError error
	labOnce  sync.Once
)

func TestMain(m *testing.M) {
	flag.Parse()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		theLab.close()
		os.Exit(1)
	}()
	code := m.Run()
	theLab.close()
	os.Exit(code)
}

// theatre returns the lab, made at the first call.
func theatre(t *testing.T) *lab {
	t.Helper()
	labOnce.Do(func() { theLab, labError = newLab() })
	if errors.Is(labError, errNoNamespaces) {
		t.Skip(labError)
	}
	if labError != nil {
		t.Fatal(labError)
	}
	return theLab
}

func newLab() (l *lab, err error) {
	l = &lab{director: newDirector()}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.dir, err = os.MkdirTemp("", "sluice-e2e-"); err != nil {
		return nil, err
	}
	if l.servers, l.clients, err = joinNamespaces(); err != nil {
		return nil, err
	}
	if err = l.build(); err != nil {
		return nil, err
	}
	if err = l.serveStage(l.clients); err != nil {
		return nil, err
	}
	return l, l.launchBrowsers()
}

func (l *lab) build() error {
	if *binaryFlag != "" {
		l.binary = *binaryFlag
		return nil
	}
	l.binary = filepath.Join(l.dir, "sluice-under-test")
	cmd := exec.Command("go", "build", "-o", l.binary, "sluice/cmd/appliance")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build sluice/cmd/appliance: %w\n%s", err, out)
	}
	return nil
}

// serveStage puts the director into a namespace.
func (l *lab) serveStage(ns *netns) error {
	listener, err := ns.listen(stageAddr)
	if err != nil {
		return err
	}
	go http.Serve(listener, l.director.handler())
	return nil
}

// launchBrowsers starts both browsers at once.
func (l *lab) launchBrowsers() error {
	var wait sync.WaitGroup
	var chromiumError, firefoxError error
	wait.Go(func() { l.chromium, chromiumError = l.director.launch(l.clients, l.dir, "chromium") })
	wait.Go(func() { l.firefox, firefoxError = l.director.launch(l.clients, l.dir, "firefox") })
	wait.Wait()
	return errors.Join(chromiumError, firefoxError)
}

func (l *lab) browsers() []*browser { return []*browser{l.chromium, l.firefox} }

func (l *lab) close() {
	if l == nil {
		return
	}
	for _, b := range l.browsers() {
		if b != nil {
			b.proc.stop(5 * time.Second)
		}
	}
	os.RemoveAll(l.dir)
}
