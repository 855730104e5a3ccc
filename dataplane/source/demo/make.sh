#!/bin/sh
# Makes the clip of the built-in stream "demo": demo.ivf (VP8) and demo.opus
# (Opus packets of 80 bytes, one after another). Needs the Debian 12 packages
# ffmpeg and fonts-dejavu-core and takes a minute. The encoders run on one
# thread and leave nothing to chance: the same packages make the same files.
#
# usage: make.sh [DIRECTORY]    writes there, by default next to this script
set -eu
cd "${1:-$(dirname "$0")}"

seconds=10
rate=30
frames=$((seconds * rate))
fonts=/usr/share/fonts/truetype/dejavu

# The picture is water: three waves, one behind the other, and a float that
# rides the nearest. Everything turns a whole number of times in the clip, so
# the last frame leads into the first.

# wave BASE AMPLITUDE LENGTH TURNS X: height of a wave at X, in pixels from the top
wave() { echo "($1+$2*sin(2*PI*($5/$3-$4*N/$frames)))"; }

float_x="(320+210*sin(2*PI*N/$frames))"
float_y="($(wave 292 9 430 3 "$float_x")-9)"

# plane SCALE SKY FAR MIDDLE NEAR FLOAT: one plane of the picture by the values
# of its parts; SCALE is 2 for the half-size colour planes.
plane() {
	x="(X*$1)"
	y="(Y*$1)"
	far="clip($y-$(wave 222 13 310 2 "$x"),0,1)"
	middle="clip($y-$(wave 254 11 250 -2 "$x"),0,1)"
	float="clip(12.5-hypot($x-$float_x,$y-$float_y),0,1)"
	near="clip($y-$(wave 292 9 430 3 "$x"),0,1)"
	echo "st(0,lerp($2,$3,$far));st(0,lerp(ld(0),$4,$middle));st(0,lerp(ld(0),$6,$float));lerp(ld(0),$5,$near)"
}

# Colours in BT.601 limited range, which is what VP8 means: Y, Cb, Cr.
#               sky far mid near float
picture="geq=lum='$(plane 1 30 45 62 84 205)':cb='$(plane 2 136 142 144 144 88)':cr='$(plane 2 122 112 104 96 146)'"

text() { # SIZE COLOUR X Y FONT TEXT
	echo "drawtext=fontfile=$fonts/$5.ttf:fontsize=$1:fontcolor=$2:x=$3:y=$4:text='$6'"
}
words="$(text 68 0xf1f5f9 38 44 DejaVuSans-Bold Sluice)"
words="$words,$(text 17 0x94a3b8 42 124 DejaVuSans 'demo stream')"
words="$words,$(text 68 0x5eead4 w-tw-40 44 DejaVuSansMono-Bold '%{eif\:n\:d\:3}')"
words="$words,$(text 17 0x94a3b8 w-tw-42 124 DejaVuSans 'frame, 30 per second')"

# No hidden (alternate reference) frames: a frame in the file is a picture on
# the screen. A keyframe each second, so that nobody waits longer for one.
ffmpeg -v error -y -f lavfi -i "color=black:s=640x360:r=$rate:d=$seconds,format=yuv420p,$picture,$words" \
	-c:v libvpx -threads 1 -crf 6 -b:v 420k -qmin 2 -qmax 50 \
	-g $rate -keyint_min $rate -auto-alt-ref 0 -deadline good -cpu-used 0 \
	-fflags +bitexact -flags:v +bitexact -f ivf demo.ivf

# The sound is two soft notes, a fifth apart, that answer each other every 2.5 s
# over a very quiet low octave; each frequency has whole periods in the clip.
# note HERTZ START: a note struck each 5 s that has died away before the next
note() { echo "sin(2*PI*$1*t)*(1-exp(-25*mod(t+5-$2,5)))*exp(-1.4*mod(t+5-$2,5))*(1-mod(t+5-$2,5)/5)"; }
sound="0.05*$(note 330 0)+0.012*$(note 660 0)+0.05*$(note 220 2.5)+0.012*$(note 440 2.5)+0.006*sin(2*PI*110*t)"

# Four loops are encoded and the third is kept. At constant bitrate every packet
# has 80 bytes (32 kbit/s, 20 ms), so packets can be counted in bytes; in
# low-delay mode the encoder soon forgets how it began. The fourth loop comes out
# the same as the third, byte for byte (cmp stops the script if not), so from the
# last packet to the first a decoder hears exactly what the encoder meant.
loop=$((seconds * 50 * 80))
ffmpeg -v error -y -f lavfi -i "aevalsrc='$sound':s=48000:d=$((4 * seconds))" \
	-c:a libopus -b:a 32k -vbr off -frame_duration 20 -application lowdelay -ac 1 \
	-fflags +bitexact -flags:a +bitexact -map 0:a -f data opus.raw
tail -c +$((2 * loop + 1)) opus.raw | head -c $loop >demo.opus
tail -c +$((3 * loop + 1)) opus.raw | head -c $loop | cmp - demo.opus
rm opus.raw
