{{- define "labels" -}}
app.kubernetes.io/name: omni-discovery
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
