"""The lab host's end: ship what was recorded, look after the host, and tell the receiver how it is.

May import of ours only what stands in the table at the top of the package: a lab host needs neither the
server nor its framework.

==============  ==========================================================================================
module          does
==============  ==========================================================================================
config          lab-host.toml and CIS490_LAB_* to one frozen `LabHost`
transport       token, retries: every request of this package goes through it, by http_client/
receipt         what an answer to a PUT means for the file
episode         what a file's name and its meta.json say in a PUT
inspection      a file read before it is shipped: whole, unfinished, damaged
spool           the folder that the recorder fills
records         what was found out about files that wait, remembered beside them
looks           each waiting file looked at once
shipper         spool to receiver, for as long as it takes
reconsidering   what was refused for its commit, asked about again
byhand          `cis490-shipper ship` and `check`: files that a person names
status          how the spool stands
diagnosis       `cis490-shipper --ping`: which stage fails
clone           how the orchestrator's clone stands, and its fast-forward
certificate     the client certificate: its end, and its renewal
doctor/         the host's self-check
==============  ==========================================================================================
"""
