package main

import (
	"fmt"
	"net/http"
	"os"

	"github.com/gorilla/websocket"
)

func main() {
	dialer := websocket.Dialer{EnableCompression: true}
	ws, _, err := dialer.Dial(os.Args[1], http.Header{"Authorization": {"Bearer " + os.Args[2]}})
	for err == nil {
		var message []byte
		if _, message, err = ws.ReadMessage(); err == nil {
			fmt.Println(string(message))
		}
	}
	if closed, ok := err.(*websocket.CloseError); ok {
		fmt.Printf("{\"code\":%d}\n", closed.Code)
	} else {
		panic(err)
	}
}
