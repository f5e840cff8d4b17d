package main

import (
	"fmt"
	"io"
	"net/url"
	"os"

	"golang.org/x/net/websocket"
)

func main() {
	address, _ := url.Parse(os.Args[1])
	config, _ := websocket.NewConfig(os.Args[1], "http://"+address.Host)
	config.Header.Set("Authorization", "Bearer "+os.Args[2])
	ws, err := websocket.DialConfig(config)
	for err == nil {
		var message string
		if err = websocket.Message.Receive(ws, &message); err == nil {
			fmt.Println(message)
		}
	}
	if err != io.EOF { // a close frame, whose code it does not tell
		panic(err)
	}
	fmt.Println(`{"code":null}`)
}
