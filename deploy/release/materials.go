package main

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"os"
	"runtime/debug"
	"strings"
)

// materials is a bill of materials in the form of CycloneDX 1.6. It has no serial number and no time, so that the same
// binary has the same bill.
type materials struct {
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	URL        string     `json:"purl,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// dependency says what was linked. Which module wanted which other one a binary does not tell.
type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

// describe writes what a binary was built from, as the go command recorded it in the binary itself.
func describe(binary, path, command, platform string) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	if info.Main.Version == "" || info.Main.Version == "(devel)" {
		return errors.New("does not know its version: build in a clone, which a linked work tree is not")
	}
	product := component{
		Type: "application", Ref: command, Name: command, Version: info.Main.Version,
		Properties: []property{{"platform", platform}, {"go:package", info.Path}},
	}
	for _, setting := range info.Settings {
		if strings.HasPrefix(setting.Key, "vcs.") || setting.Key == "CGO_ENABLED" {
			product.Properties = append(product.Properties, property{"go:" + setting.Key, setting.Value})
		}
	}
	all := materials{Format: "CycloneDX", SpecVersion: "1.6", Version: 1, Metadata: metadata{product}}
	all.Components = append(all.Components, module(&debug.Module{Path: "std", Version: strings.TrimPrefix(info.GoVersion, "go")}))
	for _, linked := range info.Deps {
		if linked.Replace != nil {
			linked = linked.Replace
		}
		all.Components = append(all.Components, module(linked))
	}
	linked := dependency{Ref: product.Ref}
	for _, c := range all.Components {
		linked.DependsOn = append(linked.DependsOn, c.Ref)
	}
	all.Dependencies = []dependency{linked}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // what is handed out is public
}

// module is one of Go's. Its sum is that of the module's files as go.sum has it, which is no hash of one file.
func module(m *debug.Module) component {
	url := "pkg:golang/" + m.Path + "@" + strings.ReplaceAll(m.Version, "+", "%2B")
	c := component{Type: "library", Ref: url, Name: m.Path, Version: m.Version, URL: url}
	if m.Sum != "" {
		c.Properties = []property{{"go:sum", m.Sum}}
	}
	return c
}
