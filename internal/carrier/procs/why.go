//go:build unix

package procs

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// notStarted returns why the system did not start a file. The system's own error misleads:
// if the interpreter of a script is missing, it says that the script is.
func notStarted(path string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT):
		if why := missing(path); why != "" {
			return fmt.Errorf("%s: %s", path, why)
		}
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%s cannot be executed here: %s", path, kindOf(path))
	case errors.Is(err, fs.ErrPermission):
		if noexec(path) {
			return errors.New(onNoexec(path))
		}
		if why := interpreterRefused(path); why != "" {
			return fmt.Errorf("%s: %s", path, why)
		}
	}
	return err
}

// interpreter returns the interpreter that a script names, or "". With crlf, the first line
// ends in CR LF.
func interpreter(path string) (name string, crlf bool) {
	line, script := bytes.CutPrefix(beginning(path), []byte("#!"))
	if !script {
		return "", false
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	name, _, _ = strings.Cut(strings.TrimSpace(string(line)), " ")
	return name, bytes.HasSuffix(line, []byte("\r"))
}

// interpreterRefused returns why the system does not run the interpreter of a script, or "".
func interpreterRefused(path string) string {
	name, _ := interpreter(path)
	info, err := os.Stat(name)
	shown := abi.Printable(atMost(name, 200))
	switch {
	case name == "" || err != nil:
		return ""
	case info.IsDir():
		return fmt.Sprintf("its interpreter, %s, is a folder", shown)
	case info.Mode()&0o111 == 0:
		return fmt.Sprintf("its interpreter, %s, is not executable", shown)
	case noexec(name):
		return "its interpreter: " + abi.Printable(onNoexec(name))
	}
	return ""
}

const inCRLF = "its first line ends in CR LF, which the system takes as part of the interpreter's name or argument: save it with LF as the end of lines"

// hint returns what is wrong with an executable that began and ended before it was ready, as
// far as its bytes say it, or "".
func hint(path string) string {
	if _, crlf := interpreter(path); crlf {
		return inCRLF
	}
	return cutELF(path)
}

// cutELF says that an executable has fewer bytes than its header says, or "".
func cutELF(path string) string {
	const size, programs, sections = 64, 0x20, 0x28 // of the header for 64 bits
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	head := make([]byte, size)
	if _, short := io.ReadFull(f, head); err != nil || short != nil || !bytes.HasPrefix(head, []byte("\x7fELF\x02\x01")) {
		return ""
	}
	number := func(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
	many := func(i int) uint64 { return uint64(binary.LittleEndian.Uint16(head[i:])) }
	need := number(head[sections:]) + many(0x3A)*many(0x3C)
	each, entry := number(head[programs:]), make([]byte, 56)
	for n := many(0x38); n > 0 && many(0x36) == uint64(len(entry)) && each <= math.MaxInt64; n-- {
		if _, err := f.ReadAt(entry, int64(each)); err != nil {
			break
		}
		need = max(need, number(entry[0x08:])+number(entry[0x20:]))
		each += uint64(len(entry))
	}
	if have := uint64(info.Size()); need > have {
		return fmt.Sprintf("the executable is cut: it has %d bytes, and its header describes %d", have, need)
	}
	return ""
}

// missing returns the file that an existing file needs and that does not exist, or "".
func missing(path string) string {
	if name, crlf := interpreter(path); crlf {
		return inCRLF
	} else if name != "" {
		return fmt.Sprintf("its interpreter, %s, does not exist", abi.Printable(atMost(name, 200)))
	}
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		name, err := io.ReadAll(io.LimitReader(p.Open(), 4096))
		if err != nil {
			return ""
		}
		return fmt.Sprintf("its dynamic loader, %s, does not exist: the executable was built for another system, or another C library", abi.Printable(strings.TrimRight(string(name), "\x00")))
	}
	return ""
}

// kindOf says what a file is that the system cannot execute.
func kindOf(path string) string {
	begin := beginning(path)
	switch {
	case len(begin) == 0:
		return "it is empty"
	case bytes.HasPrefix(begin, []byte("\x00asm")):
		return "it is a WebAssembly module: name it under wasm in place of process"
	case bytes.HasPrefix(begin, []byte("\xef\xbb\xbf#!")):
		return "a byte order mark precedes its #!: save it as UTF-8 without one"
	case bytes.HasPrefix(begin, []byte("\xff\xfe")), bytes.HasPrefix(begin, []byte("\xfe\xff")), bytes.HasPrefix(begin, []byte("#\x00!\x00")), bytes.HasPrefix(begin, []byte("\x00#\x00!")):
		return "it is a text in UTF-16: save it as UTF-8 without a byte order mark"
	case bytes.HasPrefix(begin, []byte("MZ")):
		return "it is an executable for Windows"
	case bytes.HasPrefix(begin, []byte("\xcf\xfa\xed\xfe")), bytes.HasPrefix(begin, []byte("\xca\xfe\xba\xbe")):
		return "it is an executable for macOS"
	case bytes.HasPrefix(begin, []byte("\x7fELF")):
		f, err := elf.Open(path)
		if err != nil {
			return cmp.Or(cutELF(path), "it is an ELF file that is damaged")
		}
		defer f.Close()
		return fmt.Sprintf("it is an executable for %s, and this machine is %s/%s", strings.ToLower(strings.TrimPrefix(f.Machine.String(), "EM_")), runtime.GOOS, runtime.GOARCH)
	}
	return "it is neither an executable nor a script that begins with #!"
}

// beginning returns the first bytes of a file, or nothing.
func beginning(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	begin := make([]byte, 512)
	n, _ := io.ReadFull(f, begin)
	return begin[:n]
}

func onNoexec(path string) string {
	return fmt.Sprintf("%s may not be executed where it is: the file system of %s is mounted with noexec", path, filepath.Dir(path))
}

// The parts of go-plugin's first line: CORE|APP|NETWORK|ADDRESS|PROTOCOL|CERTIFICATE|….
const (
	helloProtocol    = 4
	helloCertificate = 5
)

// greeting reports what is wrong with the first line of a process. If secure, the line must
// contain a certificate.
func greeting(line string, secure bool) error {
	parts := strings.Split(strings.TrimSpace(line), "|")
	switch {
	case len(parts) < helloProtocol || strings.Trim(parts[0], "0123456789") != "":
		return fmt.Errorf("the first line on standard output must be that of the handshake, and is %q: print everything else to standard error", atMost(abi.Printable(strings.TrimSpace(line)), 200))
	case parts[0] != "1" || parts[1] != strconv.Itoa(abi.Version) || parts[2] != "unix": // which go-plugin refuses
	case secure && len(parts) > helloProtocol && parts[helloProtocol] == "grpc" && (len(parts) <= helloCertificate || parts[helloCertificate] == ""):
		return errors.New("the plugin has no certificate in its first line, so that it speaks plain text: set process.tls to off, or have it use the certificate in PLUGIN_CLIENT_CERT")
	}
	return nil
}

// firstOf reads the first line.
func firstOf(r *bufio.Reader, secure bool) (line []byte, err error) {
	line, err = r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("the first line on standard output exceeds %d bytes", mostHello)
	}
	if err == nil {
		err = greeting(string(line), secure)
	}
	return line, err
}

// explain says of a start that failed what a person wants to know.
func (r *run) explain(ctx context.Context, err error, timely bool) error {
	if e := storage.AsError(err); e.Code != storage.Internal && e.Code != storage.Unavailable {
		return err // the plugin's own
	}
	why := firstLine(err.Error())
	p := r.proc
	r.kill()
	switch {
	case ctx.Err() != nil:
		return storage.ContextError(ctx)
	case !timely:
		why = fmt.Sprintf("not ready within %s", r.p.opts.Start)
		if p.runs() && errors.Is(p.greeted, errUnended) {
			why += ": " + strings.TrimSuffix(errUnended.Error(), ": EOF")
		}
	case p.starved():
		return p.tooLittle()
	case !p.runs():
	case p.greeted != nil && !errors.Is(p.greeted, io.EOF) && !errors.Is(p.greeted, os.ErrClosed):
		why = p.greeted.Error()
	case p.greeted != nil:
		why = "no address on its standard output: " + p.ending()
		if more := hint(r.p.path); more != "" {
			why += "; " + more
		}
	}
	if words := p.out.words(); words != "" {
		why += "; its last output: " + words
	}
	return storage.Errorf(storage.Unavailable, "start plugin: %s", why)
}
