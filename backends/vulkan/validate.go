//go:build cgo && (linux || windows)

package vulkan

import "strings"

// excused tells whether a message of the validation layers is about something that is meant to be so.
func excused(message string) bool {
	for _, e := range []string{
		// The extensions that report these messages are for debugging, and so is this.
		"specialuse-extension-debugging",
		"intended to support use by applications when debugging",
		// What replaces it is newer than the layers of many machines.
		"deprecated extension VK_EXT_validation_features",
		// SPIR-V 1.3, which Vulkan 1.1 reads, has no other way to state a workgroup's size.
		"SpirvDeprecated_WorkgroupSize",
	} {
		if strings.Contains(message, e) {
			return true
		}
	}
	return false
}
