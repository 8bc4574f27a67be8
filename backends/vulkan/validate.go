//go:build cgo && (linux || windows)

package vulkan

import "strings"

// excused tells whether a message of the validation layers is about something that is meant to be so.
func excused(message string) bool {
	for _, e := range []string{} {
		if strings.Contains(message, e) {
			return true
		}
	}
	return false
}
