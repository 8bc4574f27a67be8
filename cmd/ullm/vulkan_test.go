//go:build cgo && linux

package main_test

import (
	"io"
	"strings"
	"testing"

	"github.com/ullm/ullm/internal/vkfaults"
)

// TestVulkanLost loses the device under a server in the midst of an answer: the client is told, and the process ends by
// itself with code 1.
func TestVulkanLost(t *testing.T) {
	if r := invoke(t, "", nil, "devices"); strings.Contains(r.stdout, "no Vulkan") {
		t.Skip("no Vulkan device (Debian: libvulkan1, mesa-vulkan-drivers)")
	}
	layer := vkfaults.Build(t)
	d := start(t, layer.Environment(), talk(t), "--backend", "vulkan", "--max-batch-tokens", "16", "--max-bs", "4",
		"--context-len", "256").ready()
	layer.Fail(40, vkfaults.DeviceLost)
	r := d.post("/v1/completions", `{"prompt":"Once upon a time","max_tokens":200,"ignore_eos":true,"stream":true}`)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	if s := string(body); !strings.Contains(s, `"text"`) || !strings.Contains(s, `"error"`) || !strings.Contains(s, "device lost") {
		t.Errorf("the client was told\n%s", s)
	}
	if code := d.exit(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if log := d.log(); !strings.Contains(log, "device lost") || !strings.Contains(log, "0 lost") {
		t.Errorf("the log says\n%s", log)
	}
	if layer.Hit() == "" {
		t.Error("no call was failed")
	}
}

// TestNoVulkan asks for devices where the loader finds no driver: the list says why Vulkan is not usable.
func TestNoVulkan(t *testing.T) {
	none := []string{"VK_ICD_FILENAMES=/nonexistent.json", "VK_DRIVER_FILES=/nonexistent.json"}
	r := invoke(t, "", none, "devices")
	r.want(t, 0, "not usable: vulkan: no Vulkan: the loader")
	r = invoke(t, "", none, "serve", talk(t), "--backend", "vulkan", "--port", "0")
	r.want(t, 1, "no Vulkan")
}
