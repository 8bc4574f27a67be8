package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"
)

// config is a YAML file of flags, such as "max-bs: 32", of whatever command. It ranks below the command line and the
// environment.
type config map[string]any

func openConfig(path string) (kong.Resolver, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readConfig(f)
}

func readConfig(r io.Reader) (kong.Resolver, error) {
	var values map[string]any
	if err := yaml.NewDecoder(r).Decode(&values); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("config: %w", err)
	}
	c := config{}
	for key, v := range values {
		c[strings.ReplaceAll(key, "_", "-")] = v
	}
	return c, nil
}

// names are those under which the file can have a flag.
func names(flag *kong.Flag) []string { return append([]string{flag.Name}, flag.Aliases...) }

// Resolve finds a flag's value, as the command line would have it.
func (c config) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, ok := os.LookupEnv(env); ok {
			return nil, nil
		}
	}
	for _, name := range names(flag) {
		if v, ok := c[name]; ok && v != nil {
			return argument(v)
		}
	}
	return nil, nil
}

// argument spells a YAML value as the command line does: lists with commas, objects as JSON.
func argument(v any) (string, error) {
	switch v := v.(type) {
	case []any:
		var parts []string
		for _, x := range v {
			part, err := argument(x)
			if err != nil {
				return "", err
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, ","), nil
	case map[string]any:
		b, err := json.Marshal(v)
		return string(b), err
	}
	return fmt.Sprint(v), nil
}

// Validate refuses keys that are no flag of any command.
func (c config) Validate(app *kong.Application) error {
	known := map[string]bool{}
	for _, node := range append(app.Leaves(false), app.Node) {
		for _, flag := range node.Flags {
			for _, name := range names(flag) {
				known[name] = true
			}
		}
	}
	for key := range c {
		if !known[key] {
			return fmt.Errorf("config: there is no flag --%s", key)
		}
	}
	return nil
}
