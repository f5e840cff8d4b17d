use Mojo::Base -strict, -signatures;
use Mojo::JSON 'encode_json';
use Mojo::UserAgent;

$| = 1;
my ($url, $token) = @ARGV;
my %headers = (Authorization => "Bearer $token", 'Sec-WebSocket-Extensions' => 'permessage-deflate');
my $ua = Mojo::UserAgent->new;
$ua->websocket($url => \%headers => sub ($ua, $ws) {
    die $ws->res->message // 'no answer' unless $ws->is_websocket;
    $ws->on(text => sub ($ws, $bytes) { say $bytes });
    $ws->on(finish => sub ($ws, $code, $reason) { say encode_json {code => $code}; Mojo::IOLoop->stop });
});
Mojo::IOLoop->start;
