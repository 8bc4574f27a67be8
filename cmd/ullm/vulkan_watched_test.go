//go:build cgo && linux

package main_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ullm/ullm/internal/vkfaults"
)

// watched is an environment whose validation layers watch all that a process does with Vulkan, with what it synchronises and
// what is bad practice. complaints, to be called when the process has ended, fails the test with what they said, objects that
// were left included. The test skips where there are no layers or no device.
func watched(t *testing.T) (env []string, complaints func()) {
	t.Helper()
	if _, err := os.Stat("/usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json"); err != nil {
		t.Skip("no validation layers (Debian: vulkan-validationlayers)")
	}
	if r := invoke(t, "", nil, "devices"); strings.Contains(r.stdout, "no Vulkan") {
		t.Skip("no Vulkan device (Debian: libvulkan1, mesa-vulkan-drivers)")
	}
	settings, log := filepath.Join(t.TempDir(), "vk_layer_settings.txt"), filepath.Join(t.TempDir(), "said")
	text := fmt.Sprintf(`khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG
khronos_validation.log_filename = %s
khronos_validation.report_flags = error,warn,perf
khronos_validation.enables = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT,VK_VALIDATION_FEATURE_ENABLE_BEST_PRACTICES_EXT
`, log)
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env = []string{"VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation", "VK_LAYER_SETTINGS_PATH=" + settings}
	return env, func() {
		t.Helper()
		b, err := os.ReadFile(log)
		if err != nil {
			t.Fatalf("the validation layers did not watch: %v", err)
		}
		for line := range strings.Lines(string(b)) {
			// SPIR-V 1.3, which Vulkan 1.1 reads, has no other way to state a workgroup's size.
			if strings.Contains(line, "Validation ") && !strings.Contains(line, "SpirvDeprecated_WorkgroupSize") {
				t.Error(line)
			}
		}
	}
}

// TestVulkanWatched serves chats at once over HTTP under the validation layers, of which one goes away in the midst, and ends.
func TestVulkanWatched(t *testing.T) {
	env, complaints := watched(t)
	d := start(t, env, talk(t), "--backend", "vulkan", "--max-batch-tokens", "32", "--max-bs", "4", "--context-len", "256").ready()
	var crowd sync.WaitGroup
	for i := range 6 {
		crowd.Go(func() {
			body := fmt.Sprintf(`{"messages":[{"role":"user","content":"Hello%s"}],"max_tokens":24,"temperature":1,"seed":%d,"stream":true}`,
				strings.Repeat(" there", i), i)
			r, err := http.Post(d.url+"/v1/chat/completions", "application/json", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Body.Close()
			if i == 5 {
				_, _ = io.ReadFull(r.Body, make([]byte, 10))
				return
			}
			if b, err := io.ReadAll(r.Body); err != nil || !strings.HasSuffix(string(b), "data: [DONE]\n\n") {
				t.Errorf("chat %d ended with %v:\n%s", i, err, b)
			}
		})
	}
	crowd.Wait()
	d.signal(syscall.SIGTERM)
	d.stopped(0)
	complaints()
}

// TestVulkanStopsWhileWarming interrupts a server when the first of its programs is at work for the first time, under the
// validation layers: it ends as one that was stopped while loading, and leaves nothing.
func TestVulkanStopsWhileWarming(t *testing.T) {
	env, complaints := watched(t)
	layer := vkfaults.Build(t)
	env = append(env, layer.Environment()...)
	// Both layers; and what was compiled before is compiled again, so that there is time.
	env = append(env, "VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation:VK_LAYER_ULLM_faults", "MESA_SHADER_CACHE_DISABLE=true", "XDG_CACHE_HOME="+t.TempDir())
	layer.Fail(0, vkfaults.DeviceLost) // counts what uses the queue
	d := start(t, env, talk(t), "--backend", "vulkan")
	for layer.Calls() == 0 {
		time.Sleep(time.Millisecond)
	}
	d.signal(os.Interrupt)
	if code := d.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	log := d.log()
	lines := strings.Split(strings.TrimSpace(log), "\n")
	if last := lines[len(lines)-1]; !freedLine.MatchString(last) || strings.Contains(log, "INF ready") {
		t.Errorf("the last line is %q in\n%s", last, log)
	}
	if strings.Contains(log, "programs warmed up") {
		t.Errorf("it was warm before it was stopped:\n%s", log)
	}
	complaints()
}
