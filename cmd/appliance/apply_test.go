package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// apply runs "sluice apply" on a document against the process.
func (p *process) apply(document, answer string, flags ...string) (out, errs string, status int) {
	p.Helper()
	file := filepath.Join(p.TempDir(), "wish.yaml")
	if err := os.WriteFile(file, []byte(document), 0o644); err != nil {
		p.Fatal(err)
	}
	cmd := command(p.TB, append(append([]string{"apply", "-socket", p.socket}, flags...), file)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(answer), &stdout, &stderr
	cmd.Run() // what it says counts
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

// The difference is shown before anything changes; a second time there is none;
// what is not possible as a whole is not made at all.
func TestApply(t *testing.T) {
	p := launch(t)
	const document = `
lifecycle: {grace_ms: 700}
streams:
  line1: {title: The gate, viewers_max: 3}
  line2:
`
	const shown = "mkdir streams/line1\nmkdir streams/line2\n" + `lifecycle/grace_ms "5000" -> "700"` + "\n" +
		`streams/line1/title "" -> "The gate"` + "\n" + `streams/line1/viewers_max "0" -> "3"` + "\n"
	for _, c := range []struct {
		name, document, answer string
		flags                  []string
		status                 int
		out, errs              string
	}{
		{"no", document, "n\n", nil, 1, shown + "Apply? [y/N] ", "nothing was changed"},
		{"no answer", document, "", nil, 1, shown + "Apply? [y/N] ", "nothing was changed"},
		{"yes", document, "y\n", nil, 0, shown + "Apply? [y/N] ", ""},
		{"again", document, "", nil, 0, "nothing to change\n", ""},
		{"other streams", "streams: {line2: {title: Two}}", "", []string{"-yes"}, 0, "rmdir streams/line1\n" + `streams/line2/title "" -> "Two"` + "\n", ""},
		{"a part is wrong", "streams: {line3: {title: Three, viewers_max: many}}", "", []string{"-yes"}, int(syscall.EINVAL), "", "streams/line3/viewers_max"},
		{"a part is fixed", "media: {listen: ':1'}\nlifecycle: {grace_ms: 1}", "", []string{"-yes"}, int(syscall.EACCES), "", "media/listen: is fixed while running"},
		{"no such attribute", "lifecycle: {grace: 1}", "", []string{"-yes"}, int(syscall.ENOENT), "", "the nearest is lifecycle/grace_ms"},
		{"no document", "- x", "", []string{"-yes"}, int(syscall.EINVAL), "", "line 1"},
		{"a secret", "admin: {token: s3cret}", "", []string{"-yes"}, 0, "admin/token is written\n", ""},
	} {
		out, errs, status := p.apply(c.document, c.answer, c.flags...)
		if status != c.status || out != c.out || !strings.Contains(errs, c.errs) || c.errs == "" && errs != "" {
			t.Errorf("%s: status %d, %q, %q; want %d, %q, %q", c.name, status, out, errs, c.status, c.out, c.errs)
		}
		if strings.Contains(out+errs, "s3cret") {
			t.Errorf("%s: a secret is shown: %s", c.name, out)
		}
	}
	for path, want := range map[string]string{"lifecycle/grace_ms": "700\n", "streams/line2/title": "Two\n"} {
		if out, errs, _ := p.attr("get", path); out != want {
			t.Errorf("%s is %q in the end, want %q %s", path, out, want, errs)
		}
	}
	if out, _, _ := p.attr("ls", "streams"); strings.Contains(out, "line1") || strings.Contains(out, "line3") {
		t.Errorf("in the end there are %s", out)
	}
}
