// Package janus runs Janus, a WebRTC server written in C, and stands in front of it with the WHIP and WHEP endpoints that it does not
// have: they become requests to its video room plugin. The front is a part of the generator, so that what is measured is Janus alone.
package janus

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// Binary is where Debian's package janus has it.
const Binary = "/usr/bin/janus"

// files is the configuration: Janus as it comes, but for where it listens and what it does not need. It is an ICE-lite agent because
// a WHEP viewer makes the offer, and so does Janus: of two that offer, one must not take the controlling role.
const (
	mainFile = `general: {
	debug_level = 2
	debug_timestamps = true
	interface = "%[1]s"
}
nat: {
	ice_lite = true
	ice_enforce_list = "%[1]s"
}
plugins: {
	disable = "libjanus_audiobridge.so,libjanus_duktape.so,libjanus_echotest.so,libjanus_lua.so,libjanus_nosip.so,libjanus_recordplay.so,libjanus_sip.so,libjanus_streaming.so,libjanus_textroom.so,libjanus_videocall.so,libjanus_voicemail.so"
}
transports: {
	disable = "libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so,libjanus_websockets.so"
}
`
	httpFile = `general: {
	json = "plain"
	base_path = "/janus"
	http = true
	port = %d
	ip = "%s"
	https = false
}
admin: {
	admin_http = false
}
`
	roomsFile = "general: {\n}\n"
)

// Command writes a configuration to a directory and returns the command that runs Janus with it: its API on one address, media on
// another, which must not be a loopback one, for Janus gathers none of those.
func Command(dir string, api netip.AddrPort, media netip.Addr) ([]string, error) {
	if media.IsLoopback() {
		return nil, fmt.Errorf("media address %s: want one that is not loopback", media)
	}
	for name, text := range map[string]string{
		"janus.jcfg":                  fmt.Sprintf(mainFile, media),
		"janus.transport.http.jcfg":   fmt.Sprintf(httpFile, api.Port(), api.Addr()),
		"janus.plugin.videoroom.jcfg": roomsFile,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return []string{Binary, "--configs-folder=" + dir, "--config=" + filepath.Join(dir, "janus.jcfg"), "--disable-colors"}, nil
}
