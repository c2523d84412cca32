//go:build unix

package procs

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/plinthkv/plinth/abi"
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
	}
	return err
}

// missing returns the file that an existing file needs and that does not exist, or "".
func missing(path string) string {
	begin := beginning(path)
	if line, script := bytes.CutPrefix(begin, []byte("#!")); script {
		line, _, _ = bytes.Cut(line, []byte("\n"))
		command, _, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		if bytes.HasSuffix(line, []byte("\r")) {
			return "its first line ends in CR LF, which the system takes as part of the interpreter's name: save it with LF as the end of lines"
		}
		return fmt.Sprintf("its interpreter, %s, does not exist", abi.Printable(atMost(command, 200)))
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
	case bytes.HasPrefix(begin, []byte("MZ")):
		return "it is an executable for Windows"
	case bytes.HasPrefix(begin, []byte("\xcf\xfa\xed\xfe")), bytes.HasPrefix(begin, []byte("\xca\xfe\xba\xbe")):
		return "it is an executable for macOS"
	case bytes.HasPrefix(begin, []byte("\x7fELF")):
		f, err := elf.Open(path)
		if err != nil {
			return "it is an ELF file that is damaged"
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
