package hub

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

var (
	dollarVariable  = regexp.MustCompile(`\$(\w+|\{[^}]*\})`)
	percentVariable = regexp.MustCompile(`%([^%]+)%`)
)

// FromEnvironment reads the variables that huggingface_hub reads, with its
// order and defaults: HF_HOME, XDG_CACHE_HOME, HF_HUB_CACHE,
// HUGGINGFACE_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HUGGING_FACE_HUB_TOKEN,
// HF_TOKEN_PATH and the token file that login writes,
// HF_HUB_DISABLE_IMPLICIT_TOKEN, HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE,
// HF_HUB_DISABLE_SYMLINKS and HF_HUB_DOWNLOAD_TIMEOUT (seconds). A variable
// that is set but empty counts as unset. home is the user's home directory.
func FromEnvironment(getenv func(string) string, home string) Options {
	env := func(name, otherwise string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return otherwise
	}
	path := func(p string) string { return expandVars(expandUser(p, home), getenv) }

	hfHome := path(env("HF_HOME", filepath.Join(env("XDG_CACHE_HOME", filepath.Join(home, ".cache")), "huggingface")))
	o := Options{
		Endpoint:   strings.TrimRight(env("HF_ENDPOINT", DefaultEndpoint), "/"),
		CacheDir:   path(env("HF_HUB_CACHE", env("HUGGINGFACE_HUB_CACHE", filepath.Join(hfHome, "hub")))),
		Offline:    isTrue(env("HF_HUB_OFFLINE", getenv("TRANSFORMERS_OFFLINE"))),
		NoSymlinks: isTrue(getenv("HF_HUB_DISABLE_SYMLINKS")),
	}
	if seconds, err := strconv.Atoi(getenv("HF_HUB_DOWNLOAD_TIMEOUT")); err == nil && seconds > 0 && seconds <= 24*3600 {
		o.Timeout = time.Duration(seconds) * time.Second
	}
	if !isTrue(getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		o.Token = cleanToken(env("HF_TOKEN", getenv("HUGGING_FACE_HUB_TOKEN")))
		if o.Token == "" {
			o.Token = tokenFile(path(env("HF_TOKEN_PATH", filepath.Join(hfHome, "token"))))
		}
	}
	return o
}

// tokenFile reads the token that a login left. Without one the hub is used as a
// guest, and it says so itself where that is not enough.
func tokenFile(path string) string {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > 64<<10 {
		return ""
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return cleanToken(string(b))
}

func cleanToken(s string) string {
	return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(s))
}

func isTrue(s string) bool {
	switch strings.ToUpper(s) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// expandUser is Python's os.path.expanduser for the own home directory.
func expandUser(p, home string) string {
	if p == "~" {
		return home
	}
	if strings.HasPrefix(p, "~/") || runtime.GOOS == "windows" && strings.HasPrefix(p, `~\`) {
		return home + p[1:]
	}
	return p
}

// expandVars is Python's os.path.expandvars: a variable that is not set stays
// as it is written.
func expandVars(p string, getenv func(string) string) string {
	replace := func(whole, name string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return whole
	}
	p = dollarVariable.ReplaceAllStringFunc(p, func(m string) string {
		return replace(m, strings.Trim(m[1:], "{}"))
	})
	if runtime.GOOS == "windows" {
		p = percentVariable.ReplaceAllStringFunc(p, func(m string) string {
			return replace(m, m[1:len(m)-1])
		})
	}
	return p
}
