{{/* The name that all objects begin with. */}}
{{- define "miroir.fullname" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 31 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels by which the pods of one component are found: (dict "root" $ "component" "proxy"). */}}
{{- define "miroir.selector" -}}
app.kubernetes.io/name: miroir
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "miroir.labels" -}}
{{ include "miroir.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Whether the chart starts a Redis of its own: `true` or nothing. */}}
{{- define "miroir.ownRedis" -}}
{{- if and (eq .Values.state.backend "redis") (not .Values.state.redis.url) -}}true{{- end -}}
{{- end -}}

{{- define "miroir.redisUrl" -}}
{{- if include "miroir.ownRedis" . -}}
redis://{{ include "miroir.fullname" . }}-redis.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:6379/0
{{- else -}}
{{ .Values.state.redis.url }}
{{- end -}}
{{- end -}}

{{/* The StatefulSets of Meilisearch as a list: name, zone (as in `zones`, or nothing), count. */}}
{{- define "miroir.sets" -}}
{{- $name := printf "%s-meilisearch" (include "miroir.fullname" .) -}}
{{- $sets := list -}}
{{- with .Values.meilisearch.zones -}}
{{- $count := div (int $.Values.meilisearch.nodes) (len .) -}}
{{- range . -}}
{{- $sets = append $sets (dict "name" (printf "%s-%s" $name .name) "zone" . "count" $count) -}}
{{- end -}}
{{- else -}}
{{- $sets = list (dict "name" $name "count" (int .Values.meilisearch.nodes)) -}}
{{- end -}}
{{- toJson $sets -}}
{{- end -}}

{{/* The nodes, which are the pods of these: name, url, zone, drained. */}}
{{- define "miroir.nodes" -}}
{{- $service := printf "%s-meilisearch.%s.svc.%s" (include "miroir.fullname" .) .Release.Namespace .Values.clusterDomain -}}
{{- $nodes := list -}}
{{- range $set := include "miroir.sets" . | fromJsonArray -}}
{{- range $number := until (int $set.count) -}}
{{- $name := printf "%s-%d" $set.name $number -}}
{{- $url := printf "http://%s.%s:7700" $name $service -}}
{{- $zone := dig "zone" "label" "" $set -}}
{{- $nodes = append $nodes (dict "name" $name "url" $url "zone" $zone "drained" (has $name $.Values.meilisearch.drained)) -}}
{{- end -}}
{{- end -}}
{{- toJson $nodes -}}
{{- end -}}

{{/* What values.schema.json cannot say: comparisons with what is counted here. Renders nothing, or fails. */}}
{{- define "miroir.checks" -}}
{{- $nodes := include "miroir.nodes" . | fromJsonArray -}}
{{- $names := list -}}
{{- $active := 0 -}}
{{- range $nodes -}}
{{- $names = append $names .name -}}
{{- if not .drained -}}{{- $active = add1 $active -}}{{- end -}}
{{- end -}}
{{- range .Values.meilisearch.drained -}}
{{- if not (has . $names) -}}
{{- fail (printf "meilisearch.drained: there is no node `%s`; there are %s" . (join ", " $names)) -}}
{{- end -}}
{{- end -}}
{{- if gt (int .Values.cluster.replicas) (int $active) -}}
{{- fail (printf "cluster.replicas is %d, but %d nodes are not drained: each copy of a shard needs a node of its own" (int .Values.cluster.replicas) (int $active)) -}}
{{- end -}}
{{- with .Values.meilisearch.zones -}}
{{- $zones := list -}}
{{- $labels := list -}}
{{- range . -}}
{{- $zones = append $zones .name -}}
{{- $labels = append $labels .label -}}
{{- end -}}
{{- if or (ne (len (uniq $zones)) (len .)) (ne (len (uniq $labels)) (len .)) -}}
{{- fail "meilisearch.zones: two zones have the same name or label" -}}
{{- end -}}
{{- if mod (int $.Values.meilisearch.nodes) (len .) -}}
{{- fail (printf "meilisearch.nodes is %d, which is no multiple of the %d zones" (int $.Values.meilisearch.nodes) (len .)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A value of TOML: numbers without an exponent, texts in quotes. */}}
{{- define "miroir.toml" -}}
{{- if kindIs "string" . -}}
{{ . | quote }}
{{- else if kindIs "bool" . -}}
{{ . }}
{{- else if eq (float64 .) (floor .) -}}
{{ int64 . }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}

{{- define "miroir.topology" -}}
# Written by the Helm chart from its values: change those, then `helm upgrade`.
[cluster]
name = {{ default .Release.Name .Values.cluster.name | quote }}
shards = {{ int64 .Values.cluster.shards }}
replicas = {{ int .Values.cluster.replicas }}
min_in_sync = {{ int .Values.cluster.minInSync }}
partial = {{ .Values.cluster.partial | quote }}

[state]
{{- if eq .Values.state.backend "redis" }}
url = {{ include "miroir.redisUrl" . | quote }}
{{- if .Values.secrets.redis.name }}
password_env = "MIROIR_STATE_PASSWORD"
{{- end }}
stale_reads = {{ include "miroir.toml" .Values.state.redis.staleReads }}
lease_renewal = {{ int .Values.state.redis.lease.renewal }}
lease_expiry = {{ int .Values.state.redis.lease.expiry }}
{{- else }}
url = "sqlite:/var/lib/miroir/state.db"
{{- end }}

[defaults]
key_env = "MIROIR_NODE_KEY"
{{- range include "miroir.nodes" . | fromJsonArray }}

[[nodes]]
name = {{ .name | quote }}
url = {{ .url | quote }}
{{- with .zone }}
zone = {{ . | quote }}
{{- end }}
{{- if .drained }}
drained = true
{{- end }}
{{- end }}

[serve]
host = {{ .Values.listen | quote }}
port = 7700
{{- range $key, $value := .Values.proxy.serve }}
{{ $key }} = {{ include "miroir.toml" $value }}
{{- end }}
{{- if .Values.secrets.clients.name }}
key_env = "MIROIR_CLIENTS_KEY"
{{- end }}
{{- if .Values.secrets.admin.name }}

[serve.admin]
key_env = "MIROIR_ADMIN_KEY"
{{- end }}
{{ end -}}

{{/* A variable whose value is in a secret: (dict "variable" "X" "secret" .Values.secrets.admin). */}}
{{- define "miroir.secret" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret.name }}
      key: {{ .secret.key }}
{{- end -}}

{{- define "miroir.image" -}}
image: {{ printf "%s:%s" .image.repository (default .default .image.tag) | quote }}
imagePullPolicy: {{ .image.pullPolicy }}
{{- end -}}

{{/* What every pod has: (dict "root" $ "component" "proxy" "user" 1 "pod" .Values.proxy.pod). */}}
{{- define "miroir.pod" -}}
automountServiceAccountToken: false
# Variables of services, MIROIR_..., would be taken for options.
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ int64 .user }}
  runAsGroup: {{ int64 .user }}
  fsGroup: {{ int64 .user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "miroir.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* On different hosts, and in different zones when there are some. */}}
{{- define "miroir.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: {{ .spread }}
    labelSelector:
      matchLabels:
        {{- include "miroir.selector" . | nindent 8 }}
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "miroir.selector" . | nindent 8 }}
{{- end -}}

{{/* A volume's claim without its metadata: (dict "storage" ... "mode" "ReadWriteOnce"). */}}
{{- define "miroir.claim" -}}
accessModes: [{{ .mode }}]
{{- with .storage.className }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .storage.size }}
{{- end -}}

{{/* Names are asked of the cluster's DNS, wherever that is. */}}
{{- define "miroir.dns" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}
