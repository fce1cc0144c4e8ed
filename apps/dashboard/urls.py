"""Addresses of the pages, all below the organisation they belong to."""

from django.urls import path

from apps.dashboard import machines

urlpatterns = [
    path("o/<slug:slug>/machines", machines.machine_list, name="machines"),
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
