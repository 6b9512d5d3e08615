package daemon

import (
	"encoding/json"
	"mime"
	"net/http"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// maxLevelRequest is far above what names a level.
const maxLevelRequest = 1 << 10

// setLevel changes the level of the log, to one that --log-level can have: zap has others above error, which would hide
// calls with an unknown outcome. Its line is written while the level is the lower of both, so that there is one too when
// the log is made quieter.
func setLevel(level zap.AtomicLevel, log *zap.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxLevelRequest)
		wanted, ok := levelIn(r)
		if !ok {
			http.Error(w, "want level=debug, info, warn or error", http.StatusBadRequest)
			return
		}
		before := level.Level()
		level.SetLevel(min(before, wanted))
		if wanted != before {
			log.Warn("the log level was changed", zap.Stringer("from", before), zap.Stringer("to", wanted))
		}
		level.SetLevel(wanted)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"level": wanted.String()}) // who has gone needs no answer
	})
}

// levelIn is the level that a request names, in a form or in JSON.
func levelIn(r *http.Request) (level zapcore.Level, ok bool) {
	var given struct{ Level string }
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/x-www-form-urlencoded" {
		given.Level = r.PostFormValue("level")
	} else if json.NewDecoder(r.Body).Decode(&given) != nil {
		return level, false
	}
	for level = zap.DebugLevel; level <= zap.ErrorLevel; level++ {
		if level.String() == given.Level {
			return level, true
		}
	}
	return level, false
}
