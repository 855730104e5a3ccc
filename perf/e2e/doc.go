// Package e2e tests the sluice binary with real clients: Chromium, Firefox and
// GStreamer publish over WHIP and watch each other over WHEP, and FFmpeg publishes,
// across two network namespaces joined by a veth pair.
//
// The package holds tests only. From the top:
//
//	matrix_test.go    publisher x viewer x codec, and the special cells
//	networks_test.go  publisher x viewer x UDP or ICE-TCP, without and with loss
//	page_test.go      the product's own page, driven over CDP
//	lab_test.go       what all tests share: namespaces, binary, browsers
//	server_test.go    one run of the binary
//	director_test.go  tells the pages in the browsers what to do, keeps what they report
//	verdict_test.go   when a viewer counts as playing
//	loss_test.go      links that lose packets
//	gstreamer_test.go GStreamer in the place of a browser
//	ffmpeg_test.go    a replica of FFmpeg's WHIP muxer, likewise
//	browser_test.go   launching Chromium and Firefox
//	cdp_test.go       a small Chrome DevTools Protocol client
//	netns_test.go     network namespaces and processes inside them
//	page/             the pages that run in the browsers
//
// No driver program sits between the tests and a browser. Each browser opens
// one page, stage.html, which asks the test process for orders; every order
// opens one peer.html in an iframe, which publishes or watches by hand (fetch
// and RTCPeerConnection) and reports what it sees twice a second.
//
// Needs root, iproute2, and the Debian packages chromium and firefox-esr, and
// those of GStreamer that the Makefile names.
// Screenshots and tables are kept with go test -artifacts.
package e2e
