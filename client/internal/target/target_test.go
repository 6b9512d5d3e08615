package target_test

import (
	"testing"

	"recoverycodes.internal/client/internal/target"
)

func TestLocal(t *testing.T) {
	for text, want := range map[string]bool{
		"127.0.0.1:50051":             true,
		"127.9.9.9:50051":             true,
		"[::1]:50051":                 true,
		"localhost:50051":             true,
		"dns:///localhost:50051":      true,
		"dns:127.0.0.1:50051":         true,
		"passthrough:///[::1]:50051":  true,
		"unix:///run/service.sock":    true,
		"unix:service.sock":           true,
		"unix-abstract:service":       true,
		"dns://9.9.9.9/localhost:80":  false, // a foreign name server answers
		"ipv4:10.0.0.1:50051":         false,
		"localhost.example.com:50051": false,
		"unix.example.com:50051":      false,
		"10.0.0.1:50051":              false,
		"0.0.0.0:50051":               false,
		"service:50051":               false,
		"service":                     false,
		"":                            false,
	} {
		if got := target.Local(text); got != want {
			t.Errorf("Local(%q) = %v", text, got)
		}
	}
}
