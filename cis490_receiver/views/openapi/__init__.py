"""The interface's description of itself: OpenAPI 3.1, and the same for people.

Each view says beside its route what it takes and answers (`declaration`); the fields, headers and filters come from
`stamps`, `filters` and `models`, the errors from `errors` with the statuses of `views.errors`. `document` puts them
together; ``python -m cis490_receiver.views.openapi`` writes docs/http.md from it.
"""
