{{- define "recoverycodes.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "recoverycodes.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "recoverycodes.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "recoverycodes.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "recoverycodes.selector" -}}
app.kubernetes.io/name: {{ include "recoverycodes.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "recoverycodes.labels" -}}
{{ include "recoverycodes.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "recoverycodes.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "recoverycodes.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "recoverycodes.image" -}}
{{- $repository := required "image.repository: is required; there is no public image" .Values.image.repository }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "recoverycodes.policyConfigMap" -}}
{{- if .Values.policy.configMap.name }}
{{- .Values.policy.configMap.name }}
{{- else if .Values.policy.content }}
{{- printf "%s-policy" (include "recoverycodes.fullname" .) }}
{{- end }}
{{- end }}

{{- /* Everything that is mounted: the volume's name, its directory's files by the keys they come from, and where it comes from. */}}
{{- define "recoverycodes.mounts" -}}
{{- $secrets := .Values.secrets }}
{{- with include "recoverycodes.policyConfigMap" . }}
- { volume: policy, configMap: {{ . }}, items: { {{ $.Values.policy.configMap.key }}: policy.yaml } }
{{- end }}
{{- range $volume, $file := dict "stytch" "secret" "adminToken" "tokens" "store" "secrets" "clientCA" "ca.crt" }}
{{- with index $secrets $volume }}
{{- if .name }}
- { volume: {{ kebabcase $volume }}, secret: {{ .name }}, items: { {{ .key }}: {{ $file }} } }
{{- end }}
{{- end }}
{{- end }}
{{- with $secrets.tls.name }}
- { volume: tls, secret: {{ . }}, items: { tls.crt: tls.crt, tls.key: tls.key } }
{{- end }}
{{- end }}

{{- /* The settings by flag: those that follow from what is mounted, and over them .Values.settings. */}}
{{- define "recoverycodes.settings" -}}
{{- $all := dict }}
{{- $dir := "/etc/recoverycodes" }}
{{- if include "recoverycodes.policyConfigMap" . }}
{{- $_ := set $all "policy" (printf "%s/policy/policy.yaml" $dir) }}
{{- end }}
{{- with .Values.secrets }}
{{- if .stytch.name }}{{ $_ := set $all "stytch-secret-file" (printf "%s/stytch/secret" $dir) }}{{ end }}
{{- if .adminToken.name }}{{ $_ := set $all "admin-token-file" (printf "%s/admin-token/tokens" $dir) }}{{ end }}
{{- if .store.name }}{{ $_ := set $all "store-secret-file" (printf "%s/store/secrets" $dir) }}{{ end }}
{{- if .clientCA.name }}{{ $_ := set $all "tls-client-ca-file" (printf "%s/client-ca/ca.crt" $dir) }}{{ end }}
{{- if .tls.name }}
{{- $_ := set $all "tls-certificate-file" (printf "%s/tls/tls.crt" $dir) }}
{{- $_ := set $all "tls-key-file" (printf "%s/tls/tls.key" $dir) }}
{{- end }}
{{- end }}
{{- range $flag, $value := .Values.settings }}
{{- if kindIs "float64" $value }}{{ $value = int64 $value }}{{ end }}
{{- $_ := set $all $flag (toString $value) }}
{{- end }}
{{- toYaml $all }}
{{- end }}

{{- /* The port of an address of the settings; nothing for a unix socket. */}}
{{- define "recoverycodes.port" -}}
{{- if not (hasPrefix "unix:" .) }}{{ regexFind "[0-9]+$" . }}{{ end }}
{{- end }}

{{- /* The seconds of a duration such as 1m30s or 500ms. */}}
{{- define "recoverycodes.seconds" -}}
{{- $unit := dict "h" 3600 "m" 60 "s" 1 "ms" 0.001 "us" 0.000001 "µs" 0.000001 "ns" 0.000000001 }}
{{- $sum := 0.0 }}
{{- range regexFindAll "[0-9.]+(ns|us|µs|ms|s|m|h)" . -1 }}
{{- $sum = addf $sum (mulf (regexFind "[0-9.]+" . | float64) (regexFind "[a-zµ]+" . | get $unit | float64)) }}
{{- end }}
{{- $sum }}
{{- end }}

{{- /* How long the server takes to stop at most: it still serves, then open calls end, then calls that were sent, and then there
are 6 s for the last answers, audit lines, spans, connections and lines of the log. A test stops a server that has all of it to do. */}}
{{- define "recoverycodes.stopSeconds" -}}
{{- $settings := include "recoverycodes.settings" . | fromYaml }}
{{- $sum := 6.0 }}
{{- range $flag, $default := dict "drain-delay" "5s" "drain-timeout" "10s" "upstream-timeout" "31s" }}
{{- $sum = addf $sum (include "recoverycodes.seconds" (get $settings $flag | default $default) | float64) }}
{{- end }}
{{- ceil $sum | int }}
{{- end }}

{{- /* What a sidecar needs to know of a port's protocol, for a list of mesh, door and whether the doors speak TLS. To Linkerd
grpc is a stream of bytes; Istio knows no kubernetes.io/h2c in old versions. */}}
{{- define "recoverycodes.appProtocol" -}}
{{- $mesh := index . 0 }}{{ $door := index . 1 }}{{ $tls := index . 2 }}
{{- if and $tls (eq $door "http") }}https
{{- else if $tls }}{{ if eq $mesh "istio" }}tls{{ end }}
{{- else if eq $door "http" }}http
{{- else if eq $mesh "istio" }}grpc
{{- else }}kubernetes.io/h2c
{{- end }}
{{- end }}

{{- define "recoverycodes.servicePorts" -}}
{{- $settings := include "recoverycodes.settings" . | fromYaml }}
{{- range $door := list "grpc" "http" }}
{{- if include "recoverycodes.port" (get $settings (printf "%s-listen" $door)) }}
- name: {{ $door }}
  port: {{ get $.Values.service.ports $door }}
  targetPort: {{ $door }}
  protocol: TCP
  {{- with include "recoverycodes.appProtocol" (list $.Values.mesh $door (not (empty (get $settings "tls-certificate-file")))) }}
  appProtocol: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* What would end every pod at its start, or break a promise of the server. */}}
{{- define "recoverycodes.refusals" -}}
{{- $settings := include "recoverycodes.settings" . | fromYaml }}
{{- $url := get $settings "once-redis-url" }}
{{- $redis := or .Values.secrets.redisURL.name $url }}
{{- $most := .Values.replicas }}
{{- if .Values.autoscaling.enabled }}{{ $most = .Values.autoscaling.maxReplicas }}{{ end }}
{{- if and (gt (int $most) 1) (not $redis) .Values.idempotency.shared }}
{{- fail (printf "up to %d replicas would not share idempotency keys, and a repeated Recover or Rotate could be made twice: set secrets.redisURL (see docs/replicas.md), or replicas: 1, or idempotency.shared: false to accept it" (int $most)) }}
{{- end }}
{{- if regexMatch "://[^/]*:[^/]*@" $url }}
{{- fail "settings.once-redis-url: holds a password, which everybody who sees the pod's arguments would read: use secrets.redisURL" }}
{{- end }}
{{- if and $redis (not (get $settings "store-secret-file")) }}
{{- fail "secrets.store: is required with a Redis, which must not be able to read what it keeps" }}
{{- end }}
{{- if ne (get $settings "sandbox") "true" }}
{{- if not (get $settings "stytch-project-id") }}{{ fail "settings.stytch-project-id: is required" }}{{ end }}
{{- if not (get $settings "stytch-secret-file") }}{{ fail "secrets.stytch: is required" }}{{ end }}
{{- end }}
{{- if and (not (get $settings "policy")) (ne (get $settings "insecure-allow-any-caller") "true") }}
{{- fail "policy: is required: policy.configMap or policy.content" }}
{{- end }}
{{- if not (get $settings "admin-token-file") }}
{{- fail "secrets.adminToken: is required, since other machines reach the admin door of a pod" }}
{{- end }}
{{- if not (include "recoverycodes.port" (get $settings "admin-listen")) }}
{{- fail "settings.admin-listen: must have a port, where the probes ask" }}
{{- end }}
{{- if regexMatch "^(127\\.|localhost:|\\[::1\\])" (get $settings "admin-listen") }}
{{- fail "settings.admin-listen: must be reached from outside the pod, where the probes ask" }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if regexMatch "^(RECOVERYCODES|STYTCH)_" .name }}
{{- fail (printf "extraEnv: %s is a setting, and what the chart derives from the settings would not follow it: use settings or secrets" .name) }}
{{- end }}
{{- end }}
{{- end }}
