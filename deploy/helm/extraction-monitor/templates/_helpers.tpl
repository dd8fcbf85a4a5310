{{- define "xm.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels that select the pods of a role. Takes a dict: root, role. */}}
{{- define "xm.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{- define "xm.labels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "xm.roleLabels" -}}
{{ include "xm.labels" .root }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{- define "xm.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* The enabled roles, as a JSON list. */}}
{{- define "xm.roles" -}}
{{- $found := list -}}
{{- range $role := list "watch" "link" "deliver" "decisions" "forward" "console" -}}
{{- if (index $.Values $role).enabled -}}{{- $found = append $found $role -}}{{- end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}

{{/* The port that serves /healthz and /readyz of a role, and /metrics except `console`: name and number. */}}
{{- define "xm.portName" -}}
{{- if has . (list "decisions" "forward" "console") -}}{{ . }}{{- else -}}web{{- end -}}
{{- end -}}
{{- define "xm.portNumber" -}}
{{- get (dict "decisions" "6067" "forward" "4318" "console" "6069") . | default "6066" -}}
{{- end -}}

{{/* The job label by which rules.yml knows a role. */}}
{{- define "xm.job" -}}
extraction-monitor{{- if ne . "watch" -}}-{{ . }}{{- end -}}
{{- end -}}

{{/* The arguments of a role's command, as a JSON list. */}}
{{- define "xm.arguments" -}}
{{- $values := index .root.Values .role -}}
{{- if eq .role "decisions" -}}
["serve"]
{{- else if eq .role "console" -}}
["console"]
{{- else if eq .role "forward" -}}
{{- concat (list "forward" "--receive") $values.sources | toJson -}}
{{- else -}}
{{- $arguments := list "worker" "--role" .role -}}
{{- if and (eq .role "watch") (gt (int $values.processes) 1) -}}
{{- $arguments = concat $arguments (list "--processes" (toString $values.processes)) -}}
{{- end -}}
{{- $arguments | toJson -}}
{{- end -}}
{{- end -}}

{{/* The files of a role, as a JSON dict from the setting to secret or config map and key. */}}
{{- define "xm.files" -}}
{{- $found := dict -}}
{{- range $setting, $file := .root.Values.files -}}
{{- if has $.role (default (list $.role) $file.roles) -}}
{{- $_ := set $found $setting $file -}}
{{- end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}

{{- define "xm.environment" -}}
{{- range $setting, $file := include "xm.files" . | fromJson -}}
- { name: {{ $setting }}, value: /run/secrets/extraction-monitor/{{ lower $setting }} }
{{ end -}}
{{- if .root.Values.config -}}
- { name: XM_CONFIG, value: /etc/extraction-monitor/extraction-monitor.toml }
{{ end -}}
- { name: XM_WEB_HOST, value: 0.0.0.0 }
{{- if eq .role "decisions" }}
- { name: XM_SERVE__HOST, value: 0.0.0.0 }
{{- with .root.Values.decisions.grpcPort }}
- { name: XM_SERVE__GRPC_PORT, value: {{ . | quote }} }
{{- end }}
{{- end }}
{{- if eq .role "forward" }}
- { name: XM_FORWARD__HOST, value: 0.0.0.0 }
- { name: XM_FORWARD__SPOOL, value: /var/lib/extraction-monitor }
{{- end }}
{{- if eq .role "console" }}
- { name: XM_CONSOLE__HOST, value: 0.0.0.0 }
- { name: XM_CONSOLE__VIEW_FILE, value: /var/lib/extraction-monitor/console.sqlite }
{{- end }}
{{- end -}}

{{- define "xm.mounts" -}}
- { name: tmp, mountPath: /tmp }
- { name: files, mountPath: /run/secrets/extraction-monitor, readOnly: true }
{{- if .root.Values.config }}
- { name: config, mountPath: /etc/extraction-monitor, readOnly: true }
{{- end }}
{{- with .root.Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "xm.volumes" -}}
- { name: tmp, emptyDir: { sizeLimit: 512Mi } }
- name: files
  projected:
    defaultMode: 0440
    sources:
      {{- range $setting, $file := include "xm.files" . | fromJson }}
      {{- if $file.secret }}
      - secret: { name: {{ $file.secret }}, items: [{ key: {{ $file.key }}, path: {{ lower $setting }} }] }
      {{- else }}
      - configMap: { name: {{ $file.configMap }}, items: [{ key: {{ $file.key }}, path: {{ lower $setting }} }] }
      {{- end }}
      {{- end }}
{{- if .root.Values.config }}
- name: config
  configMap: { name: {{ include "xm.fullname" .root }}-config }
{{- end }}
{{- if eq .role "console" }}
- { name: view, emptyDir: { sizeLimit: {{ .root.Values.console.viewSize }} } }
{{- end }}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "xm.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{- define "xm.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end -}}
