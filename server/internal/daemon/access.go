package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"go.uber.org/zap"

	"recoverycodes.internal/server/internal/access"
	"recoverycodes.internal/server/internal/audit"
	"recoverycodes.internal/server/internal/config"
	"recoverycodes.internal/server/internal/interceptor"
	"recoverycodes.internal/server/internal/reload"
	"recoverycodes.internal/server/internal/stytch"
	"recoverycodes.internal/server/internal/telemetry"
)

// openAudit opens the audit log, if there is to be one.
func openAudit(cfg *config.Serve, stdout io.Writer, log *zap.Logger, observer func() *telemetry.Observer) (*interceptor.Audit, error) {
	if cfg.AuditFile == "" {
		return &interceptor.Audit{}, nil
	}
	secret := []byte(rand.Text() + rand.Text())
	if len(cfg.StoreSecrets) > 0 {
		secret = cfg.StoreSecrets[0] // so that replicas give a code the same fingerprint
	}
	fingerprint, err := audit.NewFingerprinter(secret)
	if err != nil {
		return nil, err
	}
	lines, err := audit.Open(cfg.AuditFile, stdout, audit.Options{
		Places: 2*cfg.MaxInFlight + interceptor.MaxOwed, // calls in flight, as many that wait for their refusal, and answered ones
		OnChange: func(err error) {
			if err == nil {
				log.Info("the audit log is written again")
			} else {
				log.Error("the audit log cannot be written", zap.Error(err))
			}
		},
		OnDrop: func() { observer().AuditDropped() },
	})
	if err != nil {
		return nil, UsageError{Err: fmt.Errorf("--audit-file: %w", err)}
	}
	return &interceptor.Audit{Log: lines, Fingerprint: fingerprint, FailClosed: cfg.AuditFailClosed}, nil
}

// openGuard reads the policy and follows it.
func (s *server) openGuard(cfg *config.Serve, projectID string) (*access.Guard, error) {
	s.observer.Gauge("recoverycodes_any_caller", "1 when there is no policy, so that whoever reaches the ports may call.", func() float64 {
		if cfg.Policy == "" {
			return 1
		}
		return 0
	})
	if cfg.Policy == "" {
		return access.Anyone(), nil
	}
	var guard *access.Guard
	watcher, err := reload.New(cfg.ReloadInterval, []string{cfg.Policy}, func(contents [][]byte) (err error) {
		if guard != nil {
			if err = guard.Replace(contents[0]); err == nil {
				s.log.Info("the policy was read again and is in force")
			}
			return err
		}
		guard, err = access.NewGuard(contents[0], access.Options{
			ProjectID: projectID,
			Report:    func(err error) { s.observer.NotReloaded("jwks", err) },
		})
		return err
	}, func(err error) { s.observer.NotReloaded("policy", err) })
	if err != nil {
		return nil, UsageError{Err: fmt.Errorf("--policy: %w", err)}
	}
	s.observer.Gauge("recoverycodes_policy_callers", "Callers that the policy in force names.",
		func() float64 { return float64(guard.Callers()) })
	s.watchers = append(s.watchers, watcher.Run)
	return guard, nil
}

// openTLS reads the doors' certificate and follows it; nil when they serve plaintext.
func (s *server) openTLS(cfg *config.Serve) (*access.TLS, error) {
	if cfg.TLSCertificate == "" {
		return nil, nil //nolint:nilnil // nil is no TLS
	}
	secure, err := access.NewTLS(access.TLSFiles{
		Certificate: cfg.TLSCertificate, Key: cfg.TLSKey, ClientCA: cfg.TLSClientCA, MinVersion: cfg.TLSMinVersion,
	}, cfg.ReloadInterval, func(err error) { s.observer.NotReloaded("tls", err) })
	if err != nil {
		return nil, UsageError{Err: fmt.Errorf("--tls-certificate-file, --tls-key-file, --tls-client-ca-file: %w", err)}
	}
	s.observer.Gauge("recoverycodes_certificate_expiry_timestamp_seconds", "When the doors' certificate ends.",
		func() float64 { return float64(secure.NotAfter().Unix()) })
	s.watchers = append(s.watchers, secure.Run)
	return secure, nil
}

// followSecret has the upstream's secret read again when its file changes, and returns what has it looked at now.
func (s *server) followSecret(cfg *config.Serve, client *stytch.Client) (now func(), err error) {
	if cfg.SecretFile == "" || cfg.Sandbox {
		return func() {}, nil
	}
	first := true
	watcher, err := reload.New(cfg.ReloadInterval, []string{cfg.SecretFile}, func(contents [][]byte) error {
		secret, err := config.Secret(contents[0])
		if err != nil {
			return err
		}
		client.SetSecret(secret)
		if !first {
			s.log.Info("the Stytch secret was read again and is in use")
		}
		first = false
		return nil
	}, func(err error) { s.observer.NotReloaded("secret", err) })
	if err != nil {
		return nil, UsageError{Err: fmt.Errorf("STYTCH_SECRET_FILE: %w", err)}
	}
	s.watchers = append(s.watchers, watcher.Run)
	return watcher.Now, nil
}

// closeAudit has the last lines written.
func closeAudit(ctx context.Context, lines *interceptor.Audit, log *zap.Logger) {
	if lines == nil || lines.Log == nil {
		return
	}
	if err := lines.Log.Close(ctx); err != nil && !errors.Is(err, audit.ErrClosed) {
		log.Error("the audit log was not closed in order", zap.Error(err))
	}
}
