package require websocket

fconfigure stdout -buffering line -encoding utf-8
proc hear {socket type message} {
    switch $type {
        text { puts $message }
        close { puts "{\"code\":[lindex $message 0]}" }
        disconnect { exit }
    }
}
lassign $argv url token
websocket::open $url hear -headers [list Authorization "Bearer $token"]
vwait forever
