package certs

import (
	"errors"
	"path/filepath"

	"sluice/netopt/attr"
)

// Attrs declares where the certificate comes from.
var Attrs attr.Table

var (
	certFileAttr = Attrs.Text(attr.Decl{
		Path: "http/cert_file", Mode: attr.Boot, Max: 4095, Check: checkPath, Since: "0.1",
		Doc: `PEM file with the certificate of the HTTPS listener, followed by those of its issuers. If empty, as
			http/key_file must be then, the appliance makes a certificate of its own, about which browsers warn. The
			file is read again when it changes.`,
	})
	keyFileAttr = Attrs.Text(attr.Decl{
		Path: "http/key_file", Mode: attr.Boot, Max: 4095, Check: checkPath, Since: "0.1",
		Doc: `PEM file with the key of http/cert_file. The file is read again when it changes.`,
	})
)

// Files sets CertFile and KeyFile as the attributes say.
func (cfg *Config) Files(tree *attr.Tree) {
	cfg.CertFile, cfg.KeyFile = certFileAttr.Get(tree), keyFileAttr.Get(tree)
}

func checkPath(s string) error {
	if s != "" && !filepath.IsAbs(s) {
		return errors.New("is not an absolute path")
	}
	return nil
}
