package clienttest_test

import (
	"context"
	"fmt"

	"recoverycodes.internal/client"
	"recoverycodes.internal/client/clienttest"
	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

func Example() {
	// In a test it is clienttest.New(t), which closes it.
	service, err := clienttest.Start()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = service.Close() }()

	request := &recoverycodesv1.RecoverRequest{
		OrganizationId: clienttest.OrganizationID, MemberId: clienttest.MemberID, RecoveryCode: clienttest.RecoveryCodes()[0],
	}
	answer, err := service.Client().Recover(context.Background(), request)
	fmt.Println(client.OutcomeOf(err, nil), "with codes left:", answer.GetRecoveryCodesRemaining())

	request.MemberId = clienttest.LostAfterEffect.Member("example")
	_, err = service.Client().Recover(context.Background(), request)
	fmt.Println(client.OutcomeOf(err, nil), "with codes left:", len(service.Member(request.GetMemberId()).RecoveryCodes))
	// Output:
	// done with codes left: 9
	// unknown with codes left: 9
}
