{{/* The pod template of a role. Takes a dict: root, role. */}}
{{- define "xm.pod" -}}
{{- $root := .root -}}
{{- $role := .role -}}
{{- $values := index $root.Values $role -}}
{{- $port := include "xm.portName" $role -}}
{{- $scheme := upper (default "http" $values.scheme) -}}
metadata:
  labels:
    {{- include "xm.selector" . | nindent 4 }}
    {{- with $values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    checksum/settings: {{ list $root.Values.settings $root.Values.config | toJson | sha256sum }}
    {{- with $values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: 30
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity: {{ toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{ include "xm.selector" $ | nindent 10 }}
    {{- end }}
  securityContext: {{ include "xm.podSecurity" . | nindent 4 }}
  {{- if and (eq $role "watch") $root.Values.topics.create }}
  initContainers:
    - name: topics
      image: {{ include "xm.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [topics, create]
      envFrom: [{ configMapRef: { name: {{ include "xm.fullname" $root }} } }]
      env: {{ include "xm.environment" . | nindent 8 }}
      resources:
        requests: { cpu: 100m, memory: 128Mi }
        limits: { memory: 512Mi }
      securityContext: {{ include "xm.confined" . | nindent 8 }}
      volumeMounts: {{ include "xm.mounts" . | nindent 8 }}
  {{- end }}
  containers:
    - name: {{ $role }}
      image: {{ include "xm.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: {{ include "xm.arguments" . }}
      envFrom: [{ configMapRef: { name: {{ include "xm.fullname" $root }} } }]
      env: {{ include "xm.environment" . | nindent 8 }}
      ports:
        - { name: {{ $port }}, containerPort: {{ include "xm.portNumber" $role }} }
        {{- if and (eq $role "decisions") $values.grpcPort }}
        - { name: grpc, containerPort: {{ $values.grpcPort }} }
        {{- end }}
      # A start takes seconds. Where the image's kernels do not fit the processor, it compiles them.
      startupProbe:
        httpGet: { path: /healthz, port: {{ $port }}, scheme: {{ $scheme }} }
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: { path: /healthz, port: {{ $port }}, scheme: {{ $scheme }} }
        periodSeconds: 10
        timeoutSeconds: 3
        failureThreshold: 6
      readinessProbe:
        httpGet: { path: /readyz, port: {{ $port }}, scheme: {{ $scheme }} }
        periodSeconds: 5
        timeoutSeconds: 3
      resources: {{ toYaml $values.resources | nindent 8 }}
      securityContext: {{ include "xm.confined" . | nindent 8 }}
      volumeMounts:
        {{- include "xm.mounts" . | nindent 8 }}
        {{- if eq $role "forward" }}
        - { name: spool, mountPath: /var/lib/extraction-monitor }
        {{- else if eq $role "console" }}
        - { name: view, mountPath: /var/lib/extraction-monitor }
        {{- end }}
  volumes: {{ include "xm.volumes" . | nindent 4 }}
{{- end -}}
