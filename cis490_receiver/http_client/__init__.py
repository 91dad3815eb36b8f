"""HTTP as both ends that are not the server speak it: the lab host's `client/` and the trainer's `trainer/`.

==============  ==========================================================================================
module          does
==============  ==========================================================================================
endpoint        where the server is, what is shown to it and trusted, and what that is called here
failures        what can go wrong on the way there, stage by stage, each with its remedy
connection      an open connection: name, port, time limits, silence noticed
tls             certificates shown and checked, and what a failed handshake means
exchange        one request and its answer over http.client, read early while the body is sent
reply           an answer as a whole: status, headers, JSON, Retry-After
backoff         how long to wait before another try
reader          many GETs over kept connections, their bodies piece by piece, continued where one ended
==============  ==========================================================================================
"""
