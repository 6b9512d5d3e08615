// Package target judges gRPC targets by their text alone. It resolves nothing and connects to nothing.
package target

import (
	"net"
	"strings"
)

// Local says whether target surely stays on this machine: a loopback address, localhost or a unix socket, in the forms of
// a gRPC target that need no foreign name server.
func Local(target string) bool {
	for _, scheme := range []string{"unix:", "unix-abstract:"} {
		if strings.HasPrefix(target, scheme) {
			return true
		}
	}
	for _, scheme := range []string{"dns:///", "dns:", "passthrough:///"} {
		if rest, ok := strings.CutPrefix(target, scheme); ok {
			target = rest
			break
		}
	}
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
