package hub

import (
	"fmt"
	"strings"
)

// Ref names a model on the hub.
type Ref struct {
	Repo     string // owner/name
	Revision string // branch, tag or commit; "" is main
	Quant    string // which GGUF file, as in Q8_0; "" where the repository leaves no choice
}

// ParseRef reads owner/name[@revision][:quant], as in Qwen/Qwen3-0.6B,
// Qwen/Qwen3-0.6B@refs/pr/1 and Qwen/Qwen3-0.6B-GGUF:Q8_0.
func ParseRef(s string) (Ref, error) {
	// A colon is not allowed in names of repositories or of git revisions, nor
	// an at sign in names of repositories.
	rest, quant, hasQuant := strings.Cut(s, ":")
	repo, revision, hasRevision := strings.Cut(rest, "@")
	r := Ref{Repo: repo, Revision: revision, Quant: quant}
	if hasQuant && quant == "" || hasRevision && revision == "" {
		return Ref{}, fmt.Errorf("hub: %q is not a hub id: nothing follows the last : or @", s)
	}
	if err := r.check(); err != nil {
		return Ref{}, err
	}
	return r, nil
}

// IsRef tells whether s has the shape of a hub id. A relative path of two parts
// has it too, so ask the file system first.
func IsRef(s string) bool {
	_, err := ParseRef(s)
	return err == nil
}

func (r Ref) String() string {
	s := r.Repo
	if r.Revision != "" {
		s += "@" + r.Revision
	}
	if r.Quant != "" {
		s += ":" + r.Quant
	}
	return s
}

func (r Ref) revision() string {
	if r.Revision == "" {
		return "main"
	}
	return r.Revision
}

func (r Ref) check() error {
	owner, name, ok := strings.Cut(r.Repo, "/")
	if !ok || !repoPart(owner) || !repoPart(name) || strings.HasSuffix(name, ".git") {
		return fmt.Errorf("hub: %q is not a hub id like Qwen/Qwen3-0.6B", r.Repo)
	}
	if r.Revision != "" && (len(r.Revision) > 255 || checkName(r.Revision) != nil || strings.ContainsAny(r.Revision, "~^[@ ")) {
		return fmt.Errorf("hub: %q is not the name of a revision", r.Revision)
	}
	if len(r.Quant) > 64 || strings.ContainsFunc(r.Quant, func(c rune) bool { return !wordRune(c) && c != '-' }) {
		return fmt.Errorf("hub: %q is not the name of a GGUF format like Q8_0", r.Quant)
	}
	return nil
}

// repoPart is huggingface_hub's rule for the owner and for the name.
func repoPart(s string) bool {
	if s == "" || len(s) > 96 || strings.Contains(s, "--") || strings.Contains(s, "..") {
		return false
	}
	for _, c := range s {
		if !wordRune(c) && c != '-' && c != '.' {
			return false
		}
	}
	return !strings.ContainsAny(s[:1]+s[len(s)-1:], "-.")
}

func wordRune(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// isCommit tells whether a revision is a full commit hash.
func isCommit(s string) bool { return len(s) == 40 && isHex(s) }

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// checkName refuses a slash-separated name that could leave the directory it is
// joined to, or mean something other than a plain file, on any system: the
// cache may be shared with Windows, and one answer everywhere is simpler to
// trust than one for each system.
func checkName(name string) error {
	bad := func(why string) error { return fmt.Errorf("hub: file name %q is refused: %s: %w", name, why, ErrName) }
	if name == "" || len(name) > 1024 {
		return bad("its length")
	}
	for _, c := range name {
		if c < ' ' || c == 0x7f || c == 0xfffd || strings.ContainsRune(`\:*?"<>|`, c) {
			return bad(fmt.Sprintf("it holds %q", c))
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "":
			return bad("it has an empty part")
		case strings.HasSuffix(part, ".") || strings.HasSuffix(part, " ") || strings.HasPrefix(part, " "):
			return bad("a part is or ends in a dot or a space")
		case reserved(part):
			return bad("it is a device on Windows")
		}
	}
	return nil
}

// reserved tells whether Windows takes a name, whatever its extension, for a
// device.
func reserved(part string) bool {
	base, _, _ := strings.Cut(part, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	for _, port := range []string{"COM", "LPT"} {
		if n, ok := strings.CutPrefix(base, port); ok {
			switch n {
			case "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³":
				return true
			}
		}
	}
	return false
}
