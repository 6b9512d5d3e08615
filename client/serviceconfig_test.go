package client

import (
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/types/descriptorpb"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// A method that the contract gains later must be named in the service config, and may be retried only if the contract
// says that it has no side effects.
func TestServiceConfigFollowsTheContract(t *testing.T) {
	var config struct {
		MethodConfig []struct {
			Name []struct {
				Service, Method string
			}
			RetryPolicy json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(serviceConfig), &config); err != nil {
		t.Fatal(err)
	}
	retried := map[string]bool{} // by full name; present if named at all
	for _, mc := range config.MethodConfig {
		for _, name := range mc.Name {
			retried[name.Service+"."+name.Method] = mc.RetryPolicy != nil
		}
	}

	service := recoverycodesv1.File_stytch_b2b_recoverycodes_v1_recovery_codes_proto.Services().ByName("RecoveryCodesService")
	methods := service.Methods()
	if len(retried) != methods.Len() {
		t.Errorf("the service config names %d methods, the contract has %d", len(retried), methods.Len())
	}
	for i := range methods.Len() {
		method := methods.Get(i)
		options := method.Options().(*descriptorpb.MethodOptions)
		harmless := options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
		got, named := retried[string(method.FullName())]
		if !named {
			t.Errorf("%s is not named in the service config", method.FullName())
		}
		if got != harmless {
			t.Errorf("%s: retried = %v, has no side effects = %v", method.FullName(), got, harmless)
		}
	}
}
