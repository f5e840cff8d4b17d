import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;

class Client implements WebSocket.Listener {
    static final CompletableFuture<Integer> CLOSED = new CompletableFuture<>();
    final StringBuilder message = new StringBuilder();

    public CompletionStage<?> onText(WebSocket ws, CharSequence part, boolean last) {
        message.append(last ? part + "\n" : part);
        if (last) {
            System.out.print(message);
            message.setLength(0);
        }
        return WebSocket.Listener.super.onText(ws, part, last); // asks for more
    }

    public CompletionStage<?> onClose(WebSocket ws, int code, String reason) {
        CLOSED.complete(code);
        return null;
    }

    public static void main(String[] args) {
        HttpClient.newHttpClient().newWebSocketBuilder().header("Authorization", "Bearer " + args[1])
            .buildAsync(URI.create(args[0]), new Client()).join();
        System.out.println("{\"code\":" + CLOSED.join() + "}");
    }
}
