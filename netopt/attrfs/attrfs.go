// Package attrfs shows the attribute tree of a running appliance as files,
// through FUSE, in the manner of sysfs: cat shows live values, a bad write fails
// with the errno that the tree gives, mkdir and rmdir make and remove objects.
//
// It runs in a process of its own and speaks the unix socket. The appliance never
// waits for it, and it waits for the appliance no longer than a tenth of a
// second: then a read is an I/O error. When the appliance has gone for good, the
// mount goes too.
package attrfs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"sluice/netopt/attrsock"
)

// How long nobody may answer at the socket before the appliance has gone for
// good, and how often that is looked at. A restart takes a second.
const (
	goneAfter = 10 * time.Second
	lookEvery = 250 * time.Millisecond
)

// ErrGone is that the appliance has gone for good.
var ErrGone = errors.New("the appliance has ended: unmounted")

// Mount shows the tree at dir, calls mounted, and serves it until ctx is done or
// the appliance is gone for good, when it returns ErrGone. A mount that an
// earlier process left behind there is replaced. It needs the right to mount, or
// fusermount3 beside it.
func Mount(ctx context.Context, dir string, client *attrsock.Client, log *slog.Logger, mounted func()) error {
	t := &tree{client: client}
	entries, err := client.Entries(ctx, "")
	if err != nil {
		return err
	}
	t.shape.reset(entries)
	if _, err := os.ReadDir(dir); errors.Is(err, syscall.ENOTCONN) {
		if err := detach(dir); err != nil {
			return fmt.Errorf("%s: what an earlier process left mounted cannot be replaced: %w", dir, err)
		}
	}
	server, err := fs.Mount(dir, root(t), options())
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	mounted()
	err = t.follow(ctx, log)
	if unmountErr := server.Unmount(); unmountErr != nil { // somebody is in there
		err = errors.Join(err, detach(dir))
	}
	return err
}

func root(t *tree) fs.InodeEmbedder { return &dir{tree: t} }

// keep is how long the kernel may keep the name and the mode of a file, but no
// value: reading one again saves the way here twice. The name of an object that
// somebody else removed can be seen for so long.
const keep = time.Second

func options() *fs.Options {
	known, unknown := keep, time.Duration(0)
	return &fs.Options{
		EntryTimeout: &known, AttrTimeout: &known, NegativeTimeout: &unknown,
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()),
		MountOptions: fuse.MountOptions{
			FsName: "sluice", Name: "sluice", DirectMount: true,
			DisableXAttrs: true,
			DisableSplice: true, // values are bytes, not files
			AllowOther:    os.Getuid() == 0,
			Options:       []string{"default_permissions"}, // the kernel goes by owner and mode
		},
	}
}

// detach takes a mount away even while it is in use.
func detach(dir string) error {
	return syscall.Unmount(dir, syscall.MNT_DETACH|umountNoFollow)
}

// umountNoFollow is UMOUNT_NOFOLLOW of umount2(2), which package syscall lacks.
const umountNoFollow = 8

// follow keeps the shape as the appliance's is, until ctx is done or nobody has
// answered for long.
func (t *tree) follow(ctx context.Context, log *slog.Logger) error {
	var silent time.Time // since when nobody answers
	for ctx.Err() == nil {
		err := t.watch(ctx, func() { silent = time.Time{} })
		switch {
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, attrsock.ErrDown):
			silent = time.Time{} // somebody is there
		case silent.IsZero():
			silent = time.Now()
			log.Warn("no appliance answers", "error", err)
		case time.Since(silent) > goneAfter:
			return ErrGone
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
	}
	return nil
}

// watch follows the coming and going of objects until the appliance ends it.
func (t *tree) watch(ctx context.Context, connected func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := func() {
		connected()
		// Events wait meanwhile: what they say is done again on top.
		if entries, err := t.client.Entries(ctx, ""); err == nil {
			t.shape.reset(entries)
		} else {
			cancel() // and begin anew
		}
	}
	return t.client.Watch(ctx, "", ready, func(e attrsock.Event) {
		switch e.Name {
		case "mkdir":
			if entries, err := t.client.Entries(ctx, e.Path); err == nil {
				t.shape.grow(entries)
			}
		case "rmdir":
			t.shape.remove(e.Path)
		}
	})
}
