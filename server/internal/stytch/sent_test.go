package stytch

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestNotSentIsNeverSaidOfABodyThatArrived cancels and resets thousands of calls at random moments. Whatever happens
// to a call, "not sent" and a body at the other side exclude each other, and no body arrives twice.
func TestNotSentIsNeverSaidOfABodyThatArrived(t *testing.T) {
	const calls, callers = 2000, 24
	var arrived [calls]atomic.Int32
	var kept [calls]bool // said not to have been sent
	servers(t, func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		var body struct {
			MemberID string `json:"member_id"`
		}
		if err != nil || json.Unmarshal(text, &body) != nil {
			return // half a body has no effect
		}
		id, err := strconv.Atoi(body.MemberID)
		if err != nil {
			t.Error(err)
			return
		}
		arrived[id].Add(1)
		switch rand.IntN(4) {
		case 0:
			panic(http.ErrAbortHandler) // HTTP/1.1: the connection is cut; HTTP/2: the stream is reset
		case 1:
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		}
		_, _ = io.WriteString(w, "{}")
	}, func(t *testing.T, c *Client) {
		for i := range arrived {
			arrived[i].Store(0)
		}
		// Deadlines are drawn around the time that a call takes here and now, so that every case is reached on any machine.
		c.Rotate(t.Context(), "o", "0", nil)
		begin := time.Now()
		for range 8 {
			c.Rotate(t.Context(), "o", "0", nil)
		}
		usual := max(time.Since(begin)/4, time.Millisecond)
		arrived[0].Store(0)
		var next atomic.Int64
		var notSent, unknown, done atomic.Int64
		var group sync.WaitGroup
		for range callers {
			group.Go(func() {
				for {
					i := int(next.Add(1)) - 1
					if i >= calls {
						return
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.Int64N(int64(8*usual))))
					x := c.Rotate(ctx, "o", strconv.Itoa(i), nil)
					cancel()
					kept[i] = !x.Sent
					switch {
					case !x.Sent:
						notSent.Add(1)
					case x.Status == 0:
						unknown.Add(1)
					default:
						done.Add(1)
					}
				}
			})
		}
		group.Wait()
		if notSent.Load() == 0 || unknown.Load() == 0 || done.Load() == 0 {
			t.Errorf("%d not sent, %d unknown, %d done: the test does not reach every case", notSent.Load(), unknown.Load(), done.Load())
		}
		for i := range arrived {
			switch n := arrived[i].Load(); {
			case n > 1:
				t.Errorf("call %d arrived %d times", i, n)
			case n > 0 && kept[i]:
				t.Errorf("call %d arrived and is said not to have been sent", i)
			}
		}
		t.Logf("%d not sent, %d unknown, %d done", notSent.Load(), unknown.Load(), done.Load())
	})
}
