package hub

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

const (
	indexFile  = "model.safetensors.index.json"
	singleFile = "model.safetensors"

	maxIndexBytes = 64 << 20 // the index of a model of a thousand shards is a few MB
)

// wanted are the files beside the weights that ullm reads, where a model has
// them.
var wanted = []string{
	"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", indexFile,
}

// selection is what to fetch of a repository.
type selection struct {
	gguf    string   // the one file, or "" and then:
	small   []string // configuration and tokenizer
	index   bool     // the shard index says what the weights are
	weights []string // without an index
}

// selectFiles picks what a reference needs from the names of a repository's
// files. The names are foreign: one that would be fetched and is not safe to
// use as a path is refused.
func selectFiles(ref Ref, names []string) (selection, error) {
	var ggufs, tensors, others []string
	for _, n := range names {
		base := n[strings.LastIndexAny(n, `/\`)+1:]
		isGGUF, isTensors := hasExt(base, ".gguf"), hasExt(base, ".safetensors")
		if !isGGUF && !isTensors && !slices.Contains(wanted, base) {
			if hasExt(base, ".bin") || hasExt(base, ".pth") || hasExt(base, ".onnx") {
				others = append(others, n)
			}
			continue
		}
		if err := checkName(n); err != nil {
			return selection{}, err
		}
		switch {
		case isGGUF:
			ggufs = append(ggufs, n)
		case isTensors && base == n: // files in folders are other editions of the model
			tensors = append(tensors, n)
		}
	}
	index := slices.Contains(names, indexFile)
	if ref.Quant != "" || len(tensors) == 0 && !index && len(ggufs) > 0 {
		file, err := pickGGUF(ref, ggufs)
		return selection{gguf: file}, err
	}
	if len(tensors) == 0 && !index {
		if len(others) > 0 {
			return selection{}, fmt.Errorf("hub: %s has neither safetensors nor GGUF weights, which are what is supported; it has %s", ref, nameList(others))
		}
		return selection{}, fmt.Errorf("hub: %s holds no model: no safetensors and no GGUF weights: %w", ref, ErrNotFound)
	}
	sel := selection{index: index}
	for _, w := range wanted {
		if w != indexFile && slices.Contains(names, w) {
			sel.small = append(sel.small, w)
		}
	}
	switch {
	case sel.index:
	case slices.Contains(tensors, singleFile):
		sel.weights = []string{singleFile}
	default:
		slices.Sort(tensors)
		sel.weights = slices.Compact(tensors)
	}
	return sel, nil
}

// readIndex returns the names of the shards in a safetensors index.
func readIndex(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxIndexBytes+1))
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	shards, err := parseIndex(b)
	if err != nil {
		return nil, fmt.Errorf("hub: %s: %w", file, err)
	}
	return shards, nil
}

func parseIndex(b []byte) ([]string, error) {
	if len(b) > maxIndexBytes {
		return nil, fmt.Errorf("the index has more than %d bytes", maxIndexBytes)
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(b, &index); err != nil {
		return nil, fmt.Errorf("not a safetensors index: %w", err)
	}
	seen := map[string]bool{}
	var shards []string
	for _, file := range index.WeightMap {
		if seen[file] {
			continue
		}
		seen[file] = true
		if !hasExt(file, ".safetensors") {
			return nil, fmt.Errorf("a safetensors index that names %q", file)
		}
		if err := checkName(file); err != nil {
			return nil, err
		}
		shards = append(shards, file)
	}
	if len(shards) == 0 {
		return nil, fmt.Errorf("a safetensors index without weights")
	}
	slices.Sort(shards)
	return shards, nil
}

var (
	partNumber = regexp.MustCompile(`(?i)-(\d{5})-of-(\d{5})$`)
	// A GGUF file ends in the name of its format: Q8_0, Q4_K_M, IQ4_XS, BF16,
	// UD-Q4_K_XL.
	ggufFormat = regexp.MustCompile(`(?i)(?:^|[-._])((?:UD-)?(?:I?Q\d[A-Z0-9_]*|TQ\d_\d|BF16|FP?16|FP?32|MXFP4[A-Z0-9_]*))$`)
)

// ggufStem is the name of a GGUF file without folder, number of the split and
// extension.
func ggufStem(name string) (stem string, split bool) {
	stem = path.Base(name)
	stem = stem[:len(stem)-len(".gguf")]
	if loc := partNumber.FindStringIndex(stem); loc != nil {
		return stem[:loc[0]], true
	}
	return stem, false
}

// pickGGUF chooses the file whose name carries the format. A name that ends in
// exactly that format goes before one that holds it somewhere, and the name as
// typed before what it is short for (q4_k is Q4_K_M).
func pickGGUF(ref Ref, files []string) (string, error) {
	var names []string
	for _, f := range files {
		base := strings.ToLower(path.Base(f))
		if !strings.HasPrefix(base, "mmproj") && !strings.HasPrefix(base, "imatrix") {
			names = append(names, f)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return "", fmt.Errorf("hub: %s has no GGUF files: leave out the format to use its safetensors: %w", ref, ErrNotFound)
	}
	found := names
	if ref.Quant != "" {
		found = matchGGUF(names, ref.Quant)
	}
	switch {
	case len(found) == 0:
		return "", fmt.Errorf("hub: %s has no GGUF file in that format; it has %s: %w", ref, nameList(names), ErrNotFound)
	case isOneSplit(found):
		return "", fmt.Errorf("hub: %s is split into several files (%s), which is not supported: choose another of %s, or join them with llama-gguf-split --merge and pass the file", ref, nameList(found), nameList(names))
	case len(found) > 1 && ref.Quant == "":
		return "", fmt.Errorf("hub: %s has several GGUF files: append one's format, as in %s:Q8_0; it has %s", ref, ref.Repo, nameList(found))
	case len(found) > 1:
		return "", fmt.Errorf("hub: %s is ambiguous; it could be %s", ref, nameList(found))
	}
	return found[0], nil
}

func matchGGUF(names []string, quant string) []string {
	formats := append([]string{quant}, ggufAliases(quant)...)
	for _, matches := range []func(stem, format string) bool{endsInFormat, holdsFormat} {
		for _, format := range formats {
			var found []string
			for _, f := range names {
				if stem, _ := ggufStem(f); matches(stem, format) {
					found = append(found, f)
				}
			}
			if len(found) > 0 {
				return found
			}
		}
	}
	return nil
}

// isOneSplit tells whether the files are the parts of one model.
func isOneSplit(files []string) bool {
	first, split := ggufStem(files[0])
	for _, f := range files {
		if stem, s := ggufStem(f); !s || stem != first {
			return false
		}
	}
	return split
}

func endsInFormat(stem, format string) bool {
	m := ggufFormat.FindStringSubmatch(stem)
	return m != nil && strings.EqualFold(m[1], format)
}

// holdsFormat finds the format as a word of its own: Q4_K is not in Q4_K_M.
func holdsFormat(stem, format string) bool {
	stem, format = strings.ToUpper(stem), strings.ToUpper(format)
	for from := 0; ; {
		i := strings.Index(stem[from:], format)
		if i < 0 {
			return false
		}
		start, end := from+i, from+i+len(format)
		if (start == 0 || !wordRune(rune(stem[start-1]))) && (end == len(stem) || !wordRune(rune(stem[end]))) {
			return true
		}
		from = start + 1
	}
}

// ggufAliases are the other names of a format: those that llama-quantize has,
// and both spellings of the plain floats.
func ggufAliases(format string) []string {
	switch strings.ToUpper(format) {
	case "Q3_K":
		return []string{"Q3_K_M"}
	case "Q4_K":
		return []string{"Q4_K_M"}
	case "Q5_K":
		return []string{"Q5_K_M"}
	case "F16":
		return []string{"FP16"}
	case "FP16":
		return []string{"F16"}
	case "F32":
		return []string{"FP32"}
	case "FP32":
		return []string{"F32"}
	}
	return nil
}

func hasExt(name, ext string) bool {
	return len(name) > len(ext) && strings.EqualFold(name[len(name)-len(ext):], ext)
}

// nameList names files for an error message, quoted because they are foreign, and
// not all of a thousand.
func nameList(files []string) string {
	const most = 40
	var b strings.Builder
	for i, f := range files {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(files)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		if checkName(f) == nil {
			b.WriteString(f)
		} else {
			fmt.Fprintf(&b, "%q", f)
		}
	}
	return b.String()
}
