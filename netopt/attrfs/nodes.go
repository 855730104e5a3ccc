package attrfs

import (
	"context"
	"errors"
	"hash/fnv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"sluice/netopt/attr"
	"sluice/netopt/attrsock"
)

// deadline is how long an appliance may take to answer. Whoever reads a file
// waits no longer, and cannot even be killed meanwhile.
const deadline = 100 * time.Millisecond

// fileSize is what every file seems to hold, as in sysfs: its value is read when
// somebody reads.
const fileSize = attr.MaxBytes

// tree is what all nodes share.
type tree struct {
	client *attrsock.Client
	shape  shape
}

// ask calls f with the deadline and returns the errno of what it returns. ctx ends
// when who asks gets a signal (FUSE_INTERRUPT): a Go program does all the time, and
// asks again after EINTR.
func ask(ctx context.Context, f func(context.Context) error) syscall.Errno {
	err := f(timed{ctx, time.Now().Add(deadline)})
	var refused *attr.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &refused):
		return syscall.Errno(refused.Code.Errno())
	case ctx.Err() != nil:
		return syscall.EINTR
	}
	return syscall.EIO
}

// timed is a context with a deadline that the kernel keeps, on the socket: a timer would
// wake a thread for each read.
type timed struct {
	context.Context
	until time.Time
}

func (t timed) Deadline() (time.Time, bool) { return t.until, true }

// inode returns the number of what is at path: the same each time.
func inode(path string) uint64 {
	sum := fnv.New64a()
	sum.Write([]byte(path))
	return sum.Sum64() | 1<<63 // not one of those that are the kernel's or the library's
}

// dir is a directory.
type dir struct {
	fs.Inode
	tree *tree
	path string
}

var (
	_ fs.NodeGetattrer = (*dir)(nil)
	_ fs.NodeLookuper  = (*dir)(nil)
	_ fs.NodeReaddirer = (*dir)(nil)
	_ fs.NodeMkdirer   = (*dir)(nil)
	_ fs.NodeRmdirer   = (*dir)(nil)
	_ fs.NodeUnlinker  = (*dir)(nil)
)

func (d *dir) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if _, ok := d.tree.shape.names(d.path); !ok {
		return syscall.ENOENT
	}
	out.Mode = syscall.S_IFDIR | 0o755
	return 0
}

func (d *dir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	path := join(d.path, name)
	if mode, ok := d.tree.shape.file(path); ok {
		out.Mode, out.Size = syscall.S_IFREG|mode, fileSize
		return d.NewInode(ctx, &file{tree: d.tree, path: path}, fs.StableAttr{Mode: syscall.S_IFREG, Ino: inode(path)}), 0
	}
	if _, ok := d.tree.shape.names(path); ok {
		return d.child(ctx, path, out), 0
	}
	return nil, syscall.ENOENT
}

func (d *dir) child(ctx context.Context, path string, out *fuse.EntryOut) *fs.Inode {
	out.Mode = syscall.S_IFDIR | 0o755
	return d.NewInode(ctx, &dir{tree: d.tree, path: path}, fs.StableAttr{Mode: syscall.S_IFDIR, Ino: inode(path)})
}

func (d *dir) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	names, ok := d.tree.shape.names(d.path)
	if !ok {
		return nil, syscall.ENOENT
	}
	var entries []fuse.DirEntry
	for _, name := range names {
		mode := uint32(syscall.S_IFDIR)
		if _, isFile := d.tree.shape.file(join(d.path, name)); isFile {
			mode = syscall.S_IFREG
		}
		entries = append(entries, fuse.DirEntry{Name: name, Mode: mode, Ino: inode(join(d.path, name))})
	}
	return fs.NewListDirStream(entries), 0
}

func (d *dir) Mkdir(ctx context.Context, name string, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	path := join(d.path, name)
	errno := ask(ctx, func(ctx context.Context) error {
		if err := d.tree.client.Mkdir(ctx, path); err != nil {
			return err
		}
		entries, err := d.tree.client.Entries(ctx, path)
		d.tree.shape.grow(entries)
		return err
	})
	if errno != 0 {
		return nil, errno
	}
	return d.child(ctx, path, out), 0
}

func (d *dir) Rmdir(ctx context.Context, name string) syscall.Errno {
	path := join(d.path, name)
	errno := ask(ctx, func(ctx context.Context) error { return d.tree.client.Rmdir(ctx, path) })
	if errno == 0 {
		d.tree.shape.remove(path)
	}
	return errno
}

// Unlink refuses: attributes go with their object only.
func (d *dir) Unlink(context.Context, string) syscall.Errno { return syscall.EPERM }

// file is an attribute or metric.
type file struct {
	fs.Inode
	tree *tree
	path string
}

var (
	_ fs.NodeGetattrer = (*file)(nil)
	_ fs.NodeSetattrer = (*file)(nil)
	_ fs.NodeOpener    = (*file)(nil)
)

func (f *file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	mode, ok := f.tree.shape.file(f.path)
	if !ok {
		return syscall.ENOENT
	}
	out.Mode, out.Size = syscall.S_IFREG|mode, fileSize
	return 0
}

// Setattr lets a shell truncate what it is about to write; nothing else can be
// changed.
func (f *file) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if in.Valid&(fuse.FATTR_MODE|fuse.FATTR_UID|fuse.FATTR_GID) != 0 {
		return syscall.EPERM
	}
	return f.Getattr(ctx, h, out)
}

// Open makes a handle for which the kernel keeps nothing: each read from the
// begin asks anew.
func (f *file) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return &handle{tree: f.tree, path: f.path}, fuse.FOPEN_DIRECT_IO, 0
}

// handle is an open file.
type handle struct {
	tree  *tree
	path  string
	value atomic.Pointer[[]byte] // as of the last read from the begin
}

var (
	_ fs.FileReader  = (*handle)(nil)
	_ fs.FileWriter  = (*handle)(nil)
	_ fs.FileFlusher = (*handle)(nil)
)

// Flush has nothing to do, which the kernel takes as a word for all later ones.
func (h *handle) Flush(context.Context) syscall.Errno { return syscall.ENOSYS }

func (h *handle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	value := h.value.Load()
	if off == 0 || value == nil {
		var text string
		errno := ask(ctx, func(ctx context.Context) (err error) {
			text, err = h.tree.client.Get(ctx, h.path)
			return err
		})
		if errno != 0 {
			return nil, errno
		}
		fresh := []byte(text + "\n")
		value = &fresh
		h.value.Store(value)
	}
	rest := (*value)[min(off, int64(len(*value))):]
	return fuse.ReadResultData(rest[:min(len(rest), len(dest))]), 0
}

// Write sets the attribute: as in sysfs, each write(2) is a whole value.
func (h *handle) Write(ctx context.Context, data []byte, _ int64) (uint32, syscall.Errno) {
	errno := ask(ctx, func(ctx context.Context) error { return h.tree.client.Set(ctx, h.path, string(data)) })
	return uint32(len(data)), errno
}
