package mesh

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	cachetypes "github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/xds"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

// TestXDSRetriesDoubleNothing has a control plane give gRPC's own client a route that retries all that xDS can name, three
// times. Two servers behind it get each Recover and Rotate once; the naive server gets them more often.
func TestXDSRetriesDoubleNothing(t *testing.T) {
	sandbox := daemon.StartSandbox(t, false)
	naive, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveNaiveAt(t, sandbox, naive)
	wires := map[string][]*wire{"naive": {wireTo(t, "tcp", naive.Addr().String())}}
	for range 2 {
		d := daemon.Start(t, sandbox.Env, impatient...)
		wires["recoverycodes"] = append(wires["recoverycodes"], wireTo(t, "tcp", d.GRPC))
	}
	xdsResolver := controlPlane(t, wires)
	for _, name := range []string{"recoverycodes", "naive"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := grpc.NewClient("xds:///"+name, grpc.WithResolvers(xdsResolver), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			call := overGRPC(recoverycodesv1.NewRecoveryCodesServiceClient(conn))
			cut := func() {
				for _, w := range wires[name] {
					w.cut()
				}
			}
			for id, n := range arrivals(t, sandbox, call, cut, "xds-"+name+"-") {
				if n != 1 != (name == "naive") {
					t.Errorf("%s: arrived %d times", id, n)
				}
			}
			for _, method := range []string{"Get", "Recover", "Rotate"} {
				if a := call(t.Context(), method, faulty("slow-0", "xds-"+name)); !a.ok && name != "naive" {
					t.Errorf("%s: %+v", method, a)
				}
			}
		})
	}
}

// controlPlane serves what clients have to know of services at the end of these wires, by aggregated discovery, and returns
// the resolver of clients that ask it.
func controlPlane(t *testing.T, services map[string][]*wire) resolver.Builder {
	t.Helper()
	resources := make(map[resourcev3.Type][]cachetypes.Resource)
	for name, wires := range services {
		for kind, resource := range resourcesOf(t, name, wires) {
			resources[kind] = append(resources[kind], resource)
		}
	}
	snapshot, err := cache.NewSnapshot("1", resources)
	if err != nil {
		t.Fatal(err)
	}
	known := cache.NewSnapshotCache(false, cache.IDHash{}, nil) // clients ask for one service, not for all
	if err := known.SetSnapshot(t.Context(), "caller", snapshot); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, serverv3.NewServer(ctx, known, nil))
	served := make(chan struct{})
	go func() {
		_ = server.Serve(listener) // until it is stopped
		close(served)
	}()
	t.Cleanup(func() {
		cancel()
		server.Stop()
		<-served
	})
	builder, err := xds.NewXDSResolverWithConfigForTesting(fmt.Appendf(nil, `{
		"xds_servers": [{"server_uri": %q, "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}],
		"node": {"id": "caller"}}`, listener.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	return builder
}

// resourcesOf are a listener, a route that retries whatever it can, a cluster and its endpoints, all of one name.
func resourcesOf(t *testing.T, name string, wires []*wire) map[resourcev3.Type]cachetypes.Resource {
	t.Helper()
	overADS := &corev3.ConfigSource{ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}}}
	endpoints := &endpointv3.LocalityLbEndpoints{
		Locality: &corev3.Locality{Region: "here"}, LoadBalancingWeight: wrapperspb.UInt32(1),
	}
	for _, w := range wires {
		host, text, err := net.SplitHostPort(w.address)
		if err != nil {
			t.Fatal(err)
		}
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		endpoints.LbEndpoints = append(endpoints.LbEndpoints, &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
			Endpoint: &endpointv3.Endpoint{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
			}}}},
		}})
	}
	return map[resourcev3.Type]cachetypes.Resource{
		resourcev3.ListenerType: &listenerv3.Listener{Name: name, ApiListener: &listenerv3.ApiListener{ApiListener: packed(t, &hcmv3.HttpConnectionManager{
			RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{ConfigSource: overADS, RouteConfigName: name}},
			HttpFilters: []*hcmv3.HttpFilter{{
				Name: "router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packed(t, &routerv3.Router{})},
			}},
		})}},
		resourcev3.RouteType: &routev3.RouteConfiguration{Name: name, VirtualHosts: []*routev3.VirtualHost{{
			Name: name, Domains: []string{"*"},
			Routes: []*routev3.Route{{
				Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{}},
				Action: &routev3.Route_Route{Route: &routev3.RouteAction{
					ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: name},
					RetryPolicy: &routev3.RetryPolicy{
						RetryOn: "cancelled,deadline-exceeded,internal,resource-exhausted,unavailable", NumRetries: wrapperspb.UInt32(3),
					},
				}},
			}},
		}}},
		resourcev3.ClusterType: &clusterv3.Cluster{
			Name: name, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
			EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{EdsConfig: overADS},
		},
		resourcev3.EndpointType: &endpointv3.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpointv3.LocalityLbEndpoints{endpoints}},
	}
}

func packed(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	packed, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// TestNothingLinksXDS keeps the 15 MB of gRPC's xDS out of the server, and out of every program that uses the client:
// whoever wants it imports google.golang.org/grpc/xds.
func TestNothingLinksXDS(t *testing.T) {
	command := exec.Command("go", "list", "-deps", "recoverycodes.internal/server", "recoverycodes.internal/client/...")
	deps, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(deps), "\ngoogle.golang.org/grpc\n") {
		t.Fatal("these are no dependencies")
	}
	for path := range strings.Lines(string(deps)) {
		if path := strings.TrimSpace(path); strings.HasPrefix(path, "google.golang.org/grpc/xds") || strings.HasPrefix(path, "google.golang.org/grpc/internal/xds") || strings.HasPrefix(path, "github.com/envoyproxy/") {
			t.Errorf("%s is linked", path)
		}
	}
}
