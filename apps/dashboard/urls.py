"""Addresses of the pages, all below the organisation they belong to."""

from django.urls import path

from apps.dashboard import clusters, machines, templates_page

urlpatterns = [
    path("o/<slug:slug>/", clusters.overview, name="overview"),
    path("o/<slug:slug>/clusters", clusters.cluster_list, name="clusters"),
    path("o/<slug:slug>/cluster-count", clusters.cluster_count, name="cluster-count"),
    path("o/<slug:slug>/clusters/<slug:name>", clusters.cluster_detail, name="cluster"),
    path("o/<slug:slug>/clusters/<slug:name>/row", clusters.cluster_row, name="cluster-row"),
    path("o/<slug:slug>/clusters/<slug:name>/overview", clusters.cluster_overview, name="cluster-overview"),
    path("o/<slug:slug>/clusters/<slug:name>/machines", clusters.cluster_machines, name="cluster-machines"),
    path("o/<slug:slug>/clusters/<slug:name>/machines/<uuid:uuid>", clusters.machine_config, name="machine-config"),
    path("o/<slug:slug>/clusters/<slug:name>/destroy", clusters.cluster_destroy, name="cluster-destroy"),
    path("o/<slug:slug>/clusters/<slug:name>/talosconfig", clusters.talosconfig_download, name="talosconfig"),
    path("o/<slug:slug>/clusters/<slug:name>/kubeconfig", clusters.kubeconfig_download, name="kubeconfig"),
    path("o/<slug:slug>/clusters/<slug:name>/template", templates_page.template_export, name="template-export"),
    path("o/<slug:slug>/template", templates_page.template_editor, name="template"),
    path("o/<slug:slug>/template/check", templates_page.template_check, name="template-check"),
    path("o/<slug:slug>/template/sync", templates_page.template_sync, name="template-sync"),
    path("o/<slug:slug>/machines", machines.machine_list, name="machines"),
    path("o/<slug:slug>/machine-count", machines.machine_count, name="machine-count"),
    path("o/<slug:slug>/machines/pending", machines.pending_links, name="pending"),
    path("o/<slug:slug>/machines/<uuid:uuid>", machines.machine_detail, name="machine"),
    path("o/<slug:slug>/machines/<uuid:uuid>/row", machines.machine_row, name="machine-row"),
    path("o/<slug:slug>/machines/<uuid:uuid>/overview", machines.machine_overview, name="machine-overview"),
    path("o/<slug:slug>/machines/<uuid:uuid>/events", machines.machine_events, name="machine-events"),
    path("o/<slug:slug>/machines/<uuid:uuid>/logs", machines.machine_logs, name="machine-logs"),
    path("o/<slug:slug>/machines/<uuid:uuid>/labels", machines.machine_label, name="machine-label"),
    path("o/<slug:slug>/machines/<uuid:uuid>/remove", machines.machine_remove, name="machine-remove"),
    path("o/<slug:slug>/join", machines.join, name="join"),
    path("o/<slug:slug>/join/arriving", machines.arriving, name="arriving"),
    path("o/<slug:slug>/join/tokens", machines.join_token_create, name="join-token-create"),
    path("o/<slug:slug>/join/tokens/<uuid:token_id>/<slug:act>", machines.join_token_change, name="join-token-change"),
    path("o/<slug:slug>/join/secret/<uuid:token_id>/<slug:form>", machines.join_secret, name="join-secret"),
]
